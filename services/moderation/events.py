"""Domain events (contract section 5). The field names of changes and rows are the storage format.

A change is ``{field: (old, new)}`` with plain values: int ids, Decimal scores, aware datetimes, str, bool, None.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.grading_scheme import GradingScheme
from services.moderation.value_object import value_object

Change = tuple[Any, Any]
Changes = Mapping[str, Change]


class DomainEvent:
    """The base of all events.

    ``name``: the contract's name; ``may_change_grade``: the event can cause a grade_change, see
    :func:`services.moderation.grade_changes.describe_grade_change`.
    """

    __slots__ = ()
    name: ClassVar[str]
    may_change_grade: ClassVar[bool] = False


@value_object(kw_only=True)
class CourseUpdated(DomainEvent):
    name: ClassVar[str] = "course_updated"
    changes: Changes


@value_object(kw_only=True)
class UsersUpdated(DomainEvent):
    """``users``: ``user_id`` and the fields that changed, new values only."""

    name: ClassVar[str] = "users_updated"
    users: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class EnrollmentsUpdated(DomainEvent):
    """``enrollments``: whole rows (user_id, type, section_id, state, limited_to_section, permissions)."""

    name: ClassVar[str] = "enrollments_updated"
    enrollments: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class AdminsUpdated(DomainEvent):
    """``admins``: user_id and permissions, whole rows."""

    name: ClassVar[str] = "admins_updated"
    admins: tuple[Mapping[str, Any], ...]


@value_object(kw_only=True)
class PersonErased(DomainEvent):
    """The texts about a person in all earlier events of the course and its assignments are null from here on."""

    name: ClassVar[str] = "person_erased"
    user_id: int


@value_object(kw_only=True)
class AssignmentCreated(DomainEvent):
    """``settings``: plain values of all settings that are not null."""

    name: ClassVar[str] = "assignment_created"
    settings: Mapping[str, Any]


@value_object(kw_only=True)
class AssignmentUpdated(DomainEvent):
    """``changes`` includes unchanged settings when Canvas begins to track them.

    ``kept_student_ids``: students who stay in a moderation set that is hand-picked from now on.
    """

    name: ClassVar[str] = "assignment_updated"
    changes: Changes
    kept_student_ids: tuple[int, ...] = ()


@value_object(kw_only=True)
class SubmissionRecorded(DomainEvent):
    """``changed_fields``: the fields that changed, new values only."""

    name: ClassVar[str] = "submission_recorded"
    student_id: int
    submission_id: int
    changed_fields: Mapping[str, Any]


@value_object(kw_only=True)
class SubmissionCommentRecorded(DomainEvent):
    """``comment`` None: it was erased."""

    name: ClassVar[str] = "submission_comment_recorded"
    student_id: int
    submission_id: int
    author_id: int
    comment: str | None
    created_at: datetime


@value_object(kw_only=True)
class GraderSlotTaken(DomainEvent):
    name: ClassVar[str] = "grader_slot_taken"
    grader_id: int
    anonymous_id: str


@value_object(kw_only=True)
class GraderSlotReleased(DomainEvent):
    """``anonymous_id``: what the grader keeps."""

    name: ClassVar[str] = "grader_slot_released"
    grader_id: int
    anonymous_id: str


@value_object(kw_only=True)
class SubmissionsAllocated(DomainEvent):
    """``allocations``: the students whose graders changed, each with all its graders; ``enforced``: from now on."""

    name: ClassVar[str] = "submissions_allocated"
    allocations: tuple[Mapping[str, Any], ...]
    enforced: bool


@value_object(kw_only=True)
class StudentsSelectedForModeration(DomainEvent):
    """``sampled``: each student of a drawn sample with the reasons; empty for hand-picked students."""

    name: ClassVar[str] = "students_selected_for_moderation"
    student_ids: tuple[int, ...]
    sampled: tuple[Mapping[str, Any], ...] = ()


@value_object(kw_only=True)
class ProvisionalGradeCreated(DomainEvent):
    name: ClassVar[str] = "provisional_grade_created"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    scorer_id: int
    score: Decimal | None
    grade: str | None
    graded_at: datetime | None
    final: bool
    graded_anonymously: bool | None
    rubric_assessment: Mapping[str, Any] | None = None


@value_object(kw_only=True)
class ProvisionalGradeUpdated(DomainEvent):
    name: ClassVar[str] = "provisional_grade_updated"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    changes: Changes


@value_object(kw_only=True)
class ProvisionalCommentCreated(DomainEvent):
    """``comment`` None: it was erased."""

    name: ClassVar[str] = "provisional_comment_created"
    student_id: int
    submission_id: int
    provisional_grade_id: int
    comment_id: int
    author_id: int
    comment: str | None


@value_object(kw_only=True)
class ProvisionalGradeSelected(DomainEvent):
    name: ClassVar[str] = "provisional_grade_selected"
    student_id: int
    submission_id: int
    provisional_grade_id: int


@value_object(kw_only=True)
class ProvisionalGradeAdjudicated(DomainEvent):
    """The result of a policy for a student's marks; Canvas's own events follow for each change.

    ``policy_version``: the stream's version at which the policy was set; ``points_possible`` 0: none;
    ``grading_scheme``: only where it gives the boundaries; ``marks``: each with its grade, scorer and score;
    ``comparisons``: each with its values; ``provisional_grade_id``: the grade selected afterwards;
    ``records_final``, ``selects``: whether an event of the same command does so.
    """

    name: ClassVar[str] = "provisional_grade_adjudicated"
    student_id: int
    submission_id: int
    policy: AdjudicationPolicy
    policy_version: int
    points_possible: Decimal
    grading_type: str
    grading_scheme: GradingScheme | None
    marks: tuple[Mapping[str, Any], ...]
    comparisons: tuple[Mapping[str, Any], ...]
    outcome: str
    score: Decimal | None
    failed: tuple[str, ...]
    missing: int
    provisional_grade_id: int | None
    records_final: bool
    selects: bool


@value_object(kw_only=True)
class SubmissionUpdated(DomainEvent):
    """An excusal that was given or lifted, with the resulting gradebook changes."""

    name: ClassVar[str] = "submission_updated"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    changes: Changes


@value_object(kw_only=True)
class GradePublished(DomainEvent):
    """``score`` and ``grade`` are those of the gradebook, old and new, after the deduction for lateness.

    ``points_deducted`` None: the submission was not late. ``was_graded``: the submission's state was graded before.
    """

    name: ClassVar[str] = "grade_published"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    provisional_grade_id: int
    scorer_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    entered_score: Decimal | None
    points_deducted: Decimal | None
    graded_at: datetime
    graded_anonymously: bool | None
    was_graded: bool


@value_object(kw_only=True)
class GradesPosted(DomainEvent):
    """The publication as a whole, after its last grade. The name is Canvas's."""

    name: ClassVar[str] = "grades_posted"
    grades_published_at: datetime


@value_object(kw_only=True)
class PublicationScheduled(DomainEvent):
    """``schedule_id``: the id of the command that scheduled it; ``plan_digest`` None: with any plan."""

    name: ClassVar[str] = "publication_scheduled"
    schedule_id: str
    publish_at: datetime
    user_id: int
    plan_digest: str | None


@value_object(kw_only=True)
class PublicationScheduleCancelled(DomainEvent):
    name: ClassVar[str] = "publication_schedule_cancelled"
    schedule_id: str
    publish_at: datetime


@value_object(kw_only=True)
class GradeRevised(DomainEvent):
    """A published grade was replaced by a grade or an excusal. ``score``, ``grade``: in the gradebook, old and new.

    An excusal ends a late policy status. ``points_deducted`` None: the submission was not late.
    """

    name: ClassVar[str] = "grade_revised"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    excused: tuple[bool, bool]
    entered_score: Decimal | None
    points_deducted: Decimal | None
    grader_id: int
    graded_at: datetime
    was_graded: bool
    reason: str | None


@value_object(kw_only=True)
class GradeWithdrawn(DomainEvent):
    """A published grade was withdrawn: the submission is as it was handed in."""

    name: ClassVar[str] = "grade_withdrawn"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: tuple[Decimal | None, Decimal | None]
    grade: tuple[str | None, str | None]
    excused: tuple[bool, bool]
    grader_id: int
    graded_at: datetime
    reason: str | None


@value_object(kw_only=True)
class SubmissionPosted(DomainEvent):
    """``graded``: the submission's state; a grade_change follows only for graded submissions."""

    name: ClassVar[str] = "submission_posted"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    posted_at: datetime
    score: Decimal | None
    grade: str | None
    grader_id: int | None
    graded: bool


@value_object(kw_only=True)
class SubmissionHidden(DomainEvent):
    """``graded``: the submission's state; a grade_change follows only for graded submissions."""

    name: ClassVar[str] = "submission_hidden"
    may_change_grade: ClassVar[bool] = True
    student_id: int
    submission_id: int
    score: Decimal | None
    grade: str | None
    grader_id: int | None
    graded: bool


CourseEvent = CourseUpdated | UsersUpdated | EnrollmentsUpdated | AdminsUpdated | PersonErased
AssignmentEvent = (
    AssignmentCreated
    | AssignmentUpdated
    | SubmissionRecorded
    | SubmissionCommentRecorded
    | GraderSlotTaken
    | GraderSlotReleased
    | StudentsSelectedForModeration
    | SubmissionsAllocated
    | ProvisionalGradeCreated
    | ProvisionalGradeUpdated
    | ProvisionalCommentCreated
    | ProvisionalGradeSelected
    | ProvisionalGradeAdjudicated
    | SubmissionUpdated
    | GradePublished
    | GradesPosted
    | PublicationScheduled
    | PublicationScheduleCancelled
    | GradeRevised
    | GradeWithdrawn
    | SubmissionPosted
    | SubmissionHidden
)
Event = CourseEvent | AssignmentEvent
