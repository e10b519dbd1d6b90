"""Facts as the LMS states them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.moderation import commands
from tests.moderation.memory import TEACHER

DAY1, DAY2, DAY3 = (datetime(2025, 12, day, tzinfo=UTC) for day in (1, 2, 3))


def users(*rows: tuple[int, dict[str, Any]]) -> commands.UpsertUsers:
    return commands.UpsertUsers(users=tuple(commands.UserUpsert(user_id=user, fields=stated) for user, stated in rows))


def enrollment(user: int, **stated: Any) -> commands.UpsertEnrollments:
    row = commands.EnrollmentUpsert(user_id=user, type="StudentEnrollment", section_id=None, fields=stated)
    return commands.UpsertEnrollments(enrollments=(row,))


def submission(student: int, **stated: Any) -> commands.RecordSubmission:
    return commands.RecordSubmission(student_id=student, fields=stated)


def comment(student: int, text: str = "seen", at: datetime | None = None) -> commands.RecordSubmissionComment:
    return commands.RecordSubmissionComment(student_id=student, author_id=TEACHER, comment=text, created_at=at)


def assignment(**stated: Any) -> commands.ConfigureAssignment:
    whole = {"name": "Essay", "points_possible": Decimal(10), "grading_type": "points", "moderated_grading": True}
    return commands.ConfigureAssignment(fields={**whole, **stated})
