"""What may be asked (contract section 3), as parsed.

``stated`` holds only the fields that the sender stated, parsed: ids as int, times aware and in UTC, numbers exact;
None clears a field, a field left out keeps its value.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation.value_object import record

Stated = Mapping[str, Any]


@record(kw_only=True)
class UpsertCourse:
    stated: Stated


@record(kw_only=True)
class StatedUser:
    user_id: int
    stated: Stated


@record(kw_only=True)
class UpsertUsers:
    users: tuple[StatedUser, ...]


@record(kw_only=True)
class StatedEnrollment:
    """One enrolment is (user, type, section); ``stated``: state, limited_to_section, permissions."""

    user_id: int
    type: str
    section_id: int | None
    stated: Stated


@record(kw_only=True)
class UpsertEnrollments:
    enrollments: tuple[StatedEnrollment, ...]


@record(kw_only=True)
class StatedAdmin:
    """An account-level role; no permissions: the role is removed."""

    user_id: int
    permissions: tuple[str, ...]


@record(kw_only=True)
class UpsertAdmins:
    admins: tuple[StatedAdmin, ...]


@record(kw_only=True)
class ConfigureAssignment:
    stated: Stated


@record(kw_only=True)
class RecordSubmission:
    student_id: int
    stated: Stated


@record(kw_only=True)
class RecordSubmissionComment:
    student_id: int
    author_id: int
    comment: str
    created_at: datetime | None


@record(kw_only=True)
class PostGrades:
    """``student_ids`` None: all students."""

    student_ids: tuple[int, ...] | None
    posted_at: datetime | None


@record(kw_only=True)
class HideGrades:
    student_ids: tuple[int, ...] | None


@record(kw_only=True)
class RecordProvisionalGrade:
    student_id: int
    posted_grade: str | None = None
    prefer_points_over_scheme: bool = False
    score: Decimal | None = None
    excuse: bool | None = None
    final: bool = False
    graded_anonymously: bool | None = None
    comment: str | None = None
    rubric_assessment: Mapping[str, Any] | None = None


@record(kw_only=True)
class RecordProvisionalComment:
    student_id: int
    comment: str
    final: bool = False


@record(kw_only=True)
class SelectStudentsForModeration:
    student_ids: tuple[int, ...]


@record(kw_only=True)
class SelectProvisionalGrade:
    provisional_grade_id: int


@record(kw_only=True)
class BulkSelectProvisionalGrades:
    provisional_grade_ids: tuple[int, ...]


@record(kw_only=True)
class PublishProvisionalGrades:
    pass


CourseFact = UpsertCourse | UpsertUsers | UpsertEnrollments | UpsertAdmins
AssignmentFact = ConfigureAssignment | RecordSubmission | RecordSubmissionComment | PostGrades | HideGrades
Moderation = (
    RecordProvisionalGrade
    | RecordProvisionalComment
    | SelectStudentsForModeration
    | SelectProvisionalGrade
    | BulkSelectProvisionalGrades
    | PublishProvisionalGrades
)
Data = CourseFact | AssignmentFact | Moderation

COURSE_FACTS = frozenset({"upsert_course", "upsert_users", "upsert_enrollments", "upsert_admins"})
ASSIGNMENT_FACTS = frozenset(
    {"configure_assignment", "record_submission", "record_submission_comment", "post_grades", "hide_grades"}
)
MODERATION_COMMANDS = frozenset(
    {
        "record_provisional_grade",
        "record_provisional_comment",
        "select_students_for_moderation",
        "select_provisional_grade",
        "bulk_select_provisional_grades",
        "publish_provisional_grades",
    }
)
ASSIGNMENT_COMMANDS = ASSIGNMENT_FACTS | MODERATION_COMMANDS


@record(kw_only=True)
class Command:
    """A parsed command. ``command_id``: UUID as lower-case text; ``actor_id``: on whose behalf, None if unsaid."""

    command_id: str
    type: str
    root_account_id: int
    course_id: int
    assignment_id: int | None
    actor_id: int | None
    data: Data
