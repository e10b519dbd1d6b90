"""Facts as the LMS states them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.moderation import commands as asked
from tests.moderation.memory import TEACHER

DAY1, DAY2, DAY3 = (datetime(2025, 12, day, tzinfo=UTC) for day in (1, 2, 3))


def users(*rows: tuple[int, dict[str, Any]]) -> asked.UpsertUsers:
    return asked.UpsertUsers(users=tuple(asked.StatedUser(user_id=user, stated=stated) for user, stated in rows))


def enrollment(user: int, **stated: Any) -> asked.UpsertEnrollments:
    row = asked.StatedEnrollment(user_id=user, type="StudentEnrollment", section_id=None, stated=stated)
    return asked.UpsertEnrollments(enrollments=(row,))


def submission(student: int, **stated: Any) -> asked.RecordSubmission:
    return asked.RecordSubmission(student_id=student, stated=stated)


def comment(student: int, text: str = "seen", at: datetime | None = None) -> asked.RecordSubmissionComment:
    return asked.RecordSubmissionComment(student_id=student, author_id=TEACHER, comment=text, created_at=at)


def assignment(**stated: Any) -> asked.ConfigureAssignment:
    whole = {"name": "Essay", "points_possible": Decimal(10), "grading_type": "points", "moderated_grading": True}
    return asked.ConfigureAssignment(stated={**whole, **stated})
