"""Rejects facts that are well-formed but make no sense: accepted, they would make every later decision wrong."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from services.moderation.course import Course
from services.moderation.decisions import Rejected, invalid_field

EARLIEST_TIME = datetime(1970, 1, 1, tzinfo=UTC)
FUTURE_MAX = timedelta(days=3_660)
"""Times from the LMS lie in the past, except for clock differences and planned posting dates."""
GLOBAL_ID_BASE = 10**13


def check_times(fields: Mapping[str, Any], path: str, at: datetime) -> Rejected | None:
    """Refuse a time before 1970 or far in the future; ``path`` of the object that holds the fields."""
    for name, value in fields.items():
        if isinstance(value, datetime) and not EARLIEST_TIME <= value <= at + FUTURE_MAX:
            return invalid_field(
                f"{path}.{name}",
                f"is before 1970 or more than {FUTURE_MAX.days} days in the future: send the time in RFC 3339, "
                "or null for none",
            )
    return None


def check_settings(course: Course, settings: Mapping[str, Any], is_moderated: bool) -> Rejected | None:
    """Refuse settings with which the assignment could not be moderated; ``settings``: the stated ones."""
    final_grader_id = settings.get("final_grader_id")
    if is_moderated and final_grader_id is not None and course.is_only_learner(final_grader_id):
        return invalid_field(
            "data.final_grader_id",
            "is enrolled only as a student or observer: name a teacher or a teaching assistant",
        )
    if is_moderated and settings.get("grader_count") == 0:
        return invalid_field(
            "data.grader_count", "is 0, so that no grader could grade: send at least 1, or moderated_grading false"
        )
    return None


def check_account(course: Course, account_id: int | None) -> Rejected | None:
    """Refuse an account of a different Canvas shard than the root account's, if both are global ids."""
    if account_id is None or min(account_id, course.root_account_id) < GLOBAL_ID_BASE:
        return None
    if account_id // GLOBAL_ID_BASE == course.root_account_id // GLOBAL_ID_BASE:
        return None
    return invalid_field("data.account_id", "is an account of another shard than root_account_id: state one below it")
