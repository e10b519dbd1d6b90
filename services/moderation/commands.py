"""Commands (contract section 3), parsed.

``fields`` holds only the fields that the sender set: ids as int, times aware and in UTC, numbers exact. None clears
a field; a field that is left out keeps its value.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.value_object import value_object

Fields = Mapping[str, Any]


@value_object(kw_only=True)
class UpsertCourse:
    """``late_policy`` in ``fields``: the stated fields of a late policy, by name."""

    fields: Fields


@value_object(kw_only=True)
class UserUpsert:
    user_id: int
    fields: Fields


@value_object(kw_only=True)
class UpsertUsers:
    users: tuple[UserUpsert, ...]


@value_object(kw_only=True)
class EnrollmentUpsert:
    """An enrolment, identified by (user, type, section); ``fields``: state, limited_to_section, permissions."""

    user_id: int
    type: str
    section_id: int | None
    fields: Fields


@value_object(kw_only=True)
class UpsertEnrollments:
    enrollments: tuple[EnrollmentUpsert, ...]


@value_object(kw_only=True)
class AdminUpsert:
    """An account-level role; without permissions it is removed."""

    user_id: int
    permissions: tuple[str, ...]


@value_object(kw_only=True)
class UpsertAdmins:
    admins: tuple[AdminUpsert, ...]


@value_object(kw_only=True)
class ErasePerson:
    user_id: int


@value_object(kw_only=True)
class ConfigureAssignment:
    fields: Fields


@value_object(kw_only=True)
class RecordSubmission:
    student_id: int
    fields: Fields


@value_object(kw_only=True)
class RecordSubmissionComment:
    student_id: int
    author_id: int
    comment: str
    created_at: datetime | None


@value_object(kw_only=True)
class PostGrades:
    """``student_ids`` None: all students."""

    student_ids: tuple[int, ...] | None
    posted_at: datetime | None


@value_object(kw_only=True)
class HideGrades:
    student_ids: tuple[int, ...] | None


@value_object(kw_only=True)
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


@value_object(kw_only=True)
class RecordProvisionalComment:
    student_id: int
    comment: str
    final: bool = False


@value_object(kw_only=True)
class SelectStudentsForModeration:
    student_ids: tuple[int, ...]


@value_object(kw_only=True)
class SelectProvisionalGrade:
    provisional_grade_id: int


@value_object(kw_only=True)
class BulkSelectProvisionalGrades:
    provisional_grade_ids: tuple[int, ...]


@value_object(kw_only=True)
class PublishProvisionalGrades:
    """``plan_digest``: publish only if the plan still has this digest; ``schedule_id``: only if it is in force."""

    plan_digest: str | None = None
    schedule_id: str | None = None


@value_object(kw_only=True)
class PlanPublication:
    pass


@value_object(kw_only=True)
class SchedulePublication:
    """``plan_digest``: schedule only if the plan has this digest; at the due time it must still have it."""

    publish_at: datetime
    plan_digest: str | None = None


@value_object(kw_only=True)
class CancelScheduledPublication:
    pass


@value_object(kw_only=True)
class SetAdjudicationPolicy:
    """``adjudication`` None: no policy."""

    adjudication: AdjudicationPolicy | None


@value_object(kw_only=True)
class AdjudicateProvisionalGrades:
    """``student_ids`` None: the moderation set."""

    student_ids: tuple[int, ...] | None = None


@value_object(kw_only=True)
class RevisePublishedGrade:
    """Exactly one of ``posted_grade``, ``score`` and ``excuse`` is a value."""

    student_id: int
    reason: str
    posted_grade: str | None = None
    score: Decimal | None = None
    excuse: bool | None = None


@value_object(kw_only=True)
class WithdrawPublishedGrade:
    student_id: int
    reason: str


@value_object(kw_only=True)
class ReleaseGraderSlot:
    grader_id: int


@value_object(kw_only=True)
class EvenAllocation:
    """``marks``: how many of the graders mark each student."""

    grader_ids: tuple[int, ...]
    marks: int


@value_object(kw_only=True)
class AllocateSubmissions:
    """Has exactly one of ``allocations`` (students by grader) and ``evenly``; ``enforced`` None: unchanged."""

    allocations: tuple[tuple[int, tuple[int, ...]], ...] | None = None
    evenly: EvenAllocation | None = None
    enforced: bool | None = None


DEFAULT_STRATA = 3


@value_object(kw_only=True)
class DrawModerationSample:
    """The largest of the sizes applies; ``include``: ``failing``, ``borderline``; percentages are of the points."""

    percent: Decimal | None = None
    at_least: int | None = None
    square_root: bool = False
    include: frozenset[str] = frozenset()
    borderline_within: Decimal | None = None
    strata: int = DEFAULT_STRATA


CourseFact = UpsertCourse | UpsertUsers | UpsertEnrollments | UpsertAdmins | ErasePerson
AssignmentFact = ConfigureAssignment | RecordSubmission | RecordSubmissionComment | PostGrades | HideGrades
ModerationCommand = (
    RecordProvisionalGrade
    | RecordProvisionalComment
    | SelectStudentsForModeration
    | SelectProvisionalGrade
    | BulkSelectProvisionalGrades
    | PublishProvisionalGrades
    | PlanPublication
    | SchedulePublication
    | CancelScheduledPublication
    | SetAdjudicationPolicy
    | AdjudicateProvisionalGrades
    | RevisePublishedGrade
    | WithdrawPublishedGrade
    | ReleaseGraderSlot
    | DrawModerationSample
    | AllocateSubmissions
)
CommandData = CourseFact | AssignmentFact | ModerationCommand

COURSE_FACTS = frozenset({"upsert_course", "upsert_users", "upsert_enrollments", "upsert_admins", "erase_person"})
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
        "plan_publication",
        "schedule_publication",
        "cancel_scheduled_publication",
        "set_adjudication_policy",
        "adjudicate_provisional_grades",
        "revise_published_grade",
        "withdraw_published_grade",
        "release_grader_slot",
        "draw_moderation_sample",
        "allocate_submissions",
    }
)
ASSIGNMENT_COMMANDS = ASSIGNMENT_FACTS | MODERATION_COMMANDS


@value_object(kw_only=True)
class Command:
    """A parsed command. ``command_id``: UUID in lower case; ``actor_id``: the acting user, None if not stated."""

    command_id: str
    type: str
    root_account_id: int
    course_id: int
    assignment_id: int | None
    actor_id: int | None
    data: CommandData
