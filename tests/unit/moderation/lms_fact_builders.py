"""Facts as the LMS states them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from services.moderation import commands
from tests.fixtures.in_memory_course import TEACHER

DAY1, DAY2, DAY3 = (datetime(2025, 12, day, tzinfo=UTC) for day in (1, 2, 3))


def users_fact(*rows: tuple[int, dict[str, Any]]) -> commands.UpsertUsers:
    return commands.UpsertUsers(users=tuple(commands.UserUpsert(user_id=user, fields=stated) for user, stated in rows))


def enrollment_fact(user: int, **stated: Any) -> commands.UpsertEnrollments:
    row = commands.EnrollmentUpsert(user_id=user, type="StudentEnrollment", section_id=None, fields=stated)
    return commands.UpsertEnrollments(enrollments=(row,))


def submission_fact(student: int, **stated: Any) -> commands.RecordSubmission:
    return commands.RecordSubmission(student_id=student, fields=stated)


def comment_fact(student: int, text: str = "seen", at: datetime | None = None) -> commands.RecordSubmissionComment:
    return commands.RecordSubmissionComment(student_id=student, author_id=TEACHER, comment=text, created_at=at)


def assignment_fact(**stated: Any) -> commands.ConfigureAssignment:
    required_fields = {
        "name": "Essay",
        "points_possible": Decimal(10),
        "grading_type": "points",
        "moderated_grading": True,
    }
    return commands.ConfigureAssignment(fields={**required_fields, **stated})
