"""Payloads of the domain events, one class per name (contract section 5).

If Canvas audits the same fact, the payload is Canvas's: plain values at creation, ``[old, new]`` for changes. Values
that did not change or were not sent are left out; null is a value. Ids are decimal strings, scores numbers, times
RFC 3339 in milliseconds. Fields marked ``x-personal`` become null when their person is erased (``person_erased``).
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import DIGEST_PATTERN, UUID_PATTERN, IdText, TimeText
from schemas.personal import PERSONAL
from schemas.strict import Strict

T = TypeVar("T")
LeftOut = SkipJsonSchema[None]
Changed = tuple[T | None, T | None] | LeftOut
"""``[old, new]``, or left out."""
Points = Annotated[float, Field(allow_inf_nan=False)]
Bands = list[tuple[str, Points]]
AnonymousId = Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")]
GradingType = Literal["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"]
ModerationSet = Literal["assigned", "selected"]
EnrollmentType = Literal[
    "StudentEnrollment",
    "TeacherEnrollment",
    "TaEnrollment",
    "DesignerEnrollment",
    "ObserverEnrollment",
    "StudentViewEnrollment",
]
EnrollmentState = Literal["active", "inactive", "invited", "creation_pending", "completed", "deleted"]
LatePolicyStatus = Literal["late", "missing", "extended", "none"]
Count = Annotated[int, Field(ge=0)]


class LatePolicy(Strict):
    """Canvas's late policy: percentages of the points possible, the deduction for each started interval."""

    late_submission_deduction_enabled: bool
    late_submission_deduction: Points
    late_submission_interval: Literal["day", "hour"]
    late_submission_minimum_percent_enabled: bool
    late_submission_minimum_percent: Points


class CourseUpdated(Strict):
    """The course as sent by the LMS: names, account, default grading scheme, late policy."""

    name: Changed[str] = None
    sis_source_id: Changed[str] = None
    account_id: Changed[IdText] = None
    root_account_uuid: Changed[str] = None
    root_account_lti_guid: Changed[str] = None
    grading_scheme: Changed[Bands] = None
    late_policy: Changed[LatePolicy] = None


class User(Strict):
    user_id: IdText
    name: Annotated[str | None, PERSONAL] = None
    sortable_name: Annotated[str | None, PERSONAL] = None
    short_name: Annotated[str | None, PERSONAL] = None
    sis_user_id: Annotated[str | None, PERSONAL] = None
    login_id: Annotated[str | None, PERSONAL] = None
    created_at: TimeText | None = None


class UsersUpdated(Strict):
    """Users of the course, new values only. No other event holds names, logins or SIS ids."""

    users: list[User]


class Enrollment(Strict):
    user_id: IdText
    type: EnrollmentType
    section_id: IdText | None
    state: EnrollmentState
    limited_to_section: bool
    permissions: dict[str, bool]


class EnrollmentsUpdated(Strict):
    """Enrollments in the course, as complete rows; one enrollment is (user, type, section)."""

    enrollments: list[Enrollment]


class Admin(Strict):
    user_id: IdText
    permissions: list[str]


class AdminsUpdated(Strict):
    """Account-level roles, as complete rows; a role without permissions was removed."""

    admins: list[Admin]


class PersonErased(Strict):
    """A person's names, logins, SIS ids, comments and rubric assessments of their work were permanently erased.

    From this event on they are null wherever the service shows or publishes them. Grades and ids stay.
    """

    user_id: IdText


class AssignmentCreated(Strict):
    """An assignment with all settings that have a value."""

    name: str
    points_possible: Points | LeftOut = None
    grading_type: GradingType
    grading_scheme: Bands | LeftOut = None
    moderated_grading: bool
    grader_count: Count | LeftOut = None
    final_grader_id: IdText | LeftOut = None
    anonymous_grading: bool | LeftOut = None
    graders_anonymous_to_graders: bool | LeftOut = None
    grader_names_visible_to_final_grader: bool | LeftOut = None
    grader_comments_visible_to_graders: bool | LeftOut = None
    moderation_set: ModerationSet | LeftOut = None
    assigned_to: list[IdText] | LeftOut = None
    deleted: bool | LeftOut = None
    adjudication: AdjudicationPolicy | LeftOut = None


class AssignmentUpdated(Strict):
    """Settings that changed.

    ``kept_in_moderation_set``: students who stay in the set when it becomes hand-picked.
    """

    name: Changed[str] = None
    points_possible: Changed[Points] = None
    grading_type: Changed[GradingType] = None
    grading_scheme: Changed[Bands] = None
    moderated_grading: Changed[bool] = None
    grader_count: Changed[Count] = None
    final_grader_id: Changed[IdText] = None
    anonymous_grading: Changed[bool] = None
    graders_anonymous_to_graders: Changed[bool] = None
    grader_names_visible_to_final_grader: Changed[bool] = None
    grader_comments_visible_to_graders: Changed[bool] = None
    moderation_set: Changed[ModerationSet] = None
    assigned_to: Changed[list[IdText]] = None
    deleted: Changed[bool] = None
    adjudication: Changed[AdjudicationPolicy] = None
    kept_in_moderation_set: list[IdText] | LeftOut = None


class SubmissionRecorded(Strict):
    """The submission's gradebook entry as sent by the LMS, new values only."""

    submission_id: IdText | None = None
    anonymous_id: AnonymousId | None = None
    attempt: Count | None = None
    submitted_at: TimeText | None = None
    score: Points | None = None
    grade: str | None = None
    grader_id: IdText | None = None
    graded_at: TimeText | None = None
    excused: bool | LeftOut = None
    posted_at: TimeText | None = None
    seconds_late: Count | None = None
    late_policy_status: LatePolicyStatus | None = None


class SubmissionCommentRecorded(Strict):
    """An ordinary comment that already existed on the submission."""

    author_id: IdText
    comment: Annotated[str | None, PERSONAL]
    created_at: TimeText


class GraderSlotTaken(Strict):
    """A grader took a slot. ``anonymous_id`` replaces their name if graders are anonymous."""

    grader_id: IdText
    anonymous_id: AnonymousId


class GraderSlotReleased(Strict):
    """A slot was released. Its grader keeps the anonymous id, and takes a slot again with the next grade or comment."""

    grader_id: IdText = Field(description="the grader who had the slot")
    anonymous_id: AnonymousId = Field(description="the grader's, also for later slots")


class AllocatedStudent(Strict):
    """The graders of a student."""

    student_id: IdText = Field(description="the student")
    grader_ids: list[IdText] = Field(description="all graders of the student, ascending")


class SubmissionsAllocated(Strict):
    """Students were allocated to graders; students who are not listed keep their graders."""

    allocations: list[AllocatedStudent] = Field(description="the students whose graders changed")
    enforced: bool = Field(description="whether other graders are refused from now on")


class SampledStudent(Strict):
    """The reasons why a sample includes a student."""

    student_id: IdText = Field(description="one of student_ids")
    reasons: Annotated[list[Literal["drawn", "failing", "borderline"]], Field(min_length=1)] = Field(
        description="drawn by lot, below the first boundary, near a boundary"
    )


class StudentsSelectedForModeration(Strict):
    """Students who were added to the moderation set, by hand or as a sample."""

    student_ids: list[IdText]
    sampled: list[SampledStudent] | LeftOut = Field(
        default=None, description="for a drawn sample: the reasons for each student"
    )


class ProvisionalGradeCreated(Strict):
    """A provisional grade. ``graded_at`` is null if only a comment created it: it then counts as not entered."""

    id: IdText
    score: Points | None
    grade: str | None
    graded_at: TimeText | None
    final: bool
    source_provisional_grade_id: IdText | None
    graded_anonymously: bool | None
    scorer_id: IdText
    rubric_assessment: Annotated[dict[str, Any] | None, PERSONAL] = None


class ProvisionalGradeUpdated(Strict):
    """A grader changed their own provisional grade, or the moderator the final one."""

    id: IdText
    score: Changed[Points] = None
    grade: Changed[str] = None
    graded_at: Changed[TimeText] = None
    graded_anonymously: Changed[bool] = None
    scorer_id: Changed[IdText] = None
    rubric_assessment: Annotated[Changed[dict[str, Any]], PERSONAL] = None


class ProvisionalCommentCreated(Strict):
    """A comment on a provisional grade. ``id`` is the comment's."""

    id: IdText
    comment: Annotated[str | None, PERSONAL]
    author_id: IdText
    provisional_grade_id: IdText


class ProvisionalGradeSelected(Strict):
    """The moderator selected this provisional grade for the student."""

    id: IdText
    student_id: IdText


class AdjudicatedMark(Strict):
    """A mark that counts."""

    provisional_grade_id: IdText = Field(description="the provisional grade")
    scorer_id: IdText = Field(description="the grader who gave it")
    score: Points = Field(description="its score at the time of the adjudication")


class MarkComparison(Strict):
    """A comparison of the marks, with its values."""

    rule: Literal["within_points", "within_percent", "boundaries"] = Field(description="the field of the policy")
    passed: bool = Field(description="whether the marks agree by this rule")
    distance: str | LeftOut = Field(default=None, description="between highest and lowest mark, in points")
    limit: str | LeftOut = Field(default=None, description="maximum distance, in points")
    bands: list[Count] | LeftOut = Field(default=None, description="for boundaries: each mark's band, from the lowest")


class ProvisionalGradeAdjudicated(Strict):
    """The result of a policy for a student's marks; Canvas's own events follow for each change."""

    policy: AdjudicationPolicy = Field(description="in full")
    policy_version: Annotated[int, Field(ge=1)] = Field(description="stream version at which the policy was set")
    points_possible: Points = Field(description="the assignment's, 0 for none")
    grading_type: GradingType = Field(description="the assignment's")
    grading_scheme: Bands | None = Field(description="in force, if it gives the boundaries and is not Canvas's default")
    marks: list[AdjudicatedMark] = Field(description="the marks that count, as first entered")
    comparisons: list[MarkComparison] = Field(description="the comparisons that the policy requires")
    outcome: Literal["kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"] = Field(
        description="kept: a moderator decided by hand, or the student is excused"
    )
    score: Points | None = Field(description="the agreed score")
    failed: list[Literal["within_points", "within_percent", "boundaries"]] = Field(
        description="the comparisons that failed"
    )
    missing: Count = Field(description="marks that are still needed")
    provisional_grade_id: IdText | None = Field(description="the provisional grade that is selected afterwards")
    records_final: bool = Field(description="whether the score is recorded as a final grade that no grader gave")
    selects: bool = Field(description="whether a selection event follows")


class SubmissionUpdated(Strict):
    """An excusal that a moderator gave or lifted, with the resulting gradebook changes."""

    excused: tuple[bool, bool]
    score: Changed[Points] = None
    grade: Changed[str] = None
    grader_id: Changed[IdText] = None
    late_policy_status: Changed[LatePolicyStatus] = None
    seconds_late: Changed[Count] = None


class GradePublished(Strict):
    """One student's grade was published: the chosen provisional grade, its scorer, old and new grade.

    The new score is the entered score minus the points deducted by a late policy; ``points_deducted`` is null if the
    submission was not late. ``was_graded``: whether the submission was already graded.
    """

    provisional_grade_id: IdText
    scorer_id: IdText
    score: tuple[Points | None, Points | None]
    grade: tuple[str | None, str | None]
    entered_score: Points | None
    points_deducted: Points | None
    graded_at: TimeText
    graded_anonymously: bool | None
    was_graded: bool


class GradesPosted(Strict):
    """The publication as a whole, after its last grade. The name is Canvas's."""

    grades_published_at: tuple[None, TimeText]


class PublicationScheduled(Strict):
    """A publication was scheduled; it replaces an earlier schedule."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(
        description="the id of the command that scheduled it"
    )
    publish_at: TimeText = Field(description="time of the publication")
    user_id: IdText = Field(description="the user for whom the service publishes")
    plan_digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = Field(
        description="digest of the only plan that may be published; null: any plan"
    )


class PublicationScheduleCancelled(Strict):
    """A schedule was cancelled without a publication."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the schedule's")
    publish_at: TimeText = Field(description="time for which it was scheduled")


class GradeRevised(Strict):
    """A published grade was replaced by another grade or by an excusal, which ends a late policy status."""

    score: tuple[Points | None, Points | None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, str | None] = Field(description="in the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    entered_score: Points | None = Field(description="the new score before a late policy's deduction")
    points_deducted: Points | None = Field(description="by a late policy, null if the submission was not late")
    grader_id: IdText = Field(description="the user who revised it")
    graded_at: TimeText = Field(description="when")
    was_graded: bool = Field(description="whether the submission was graded before")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")


class GradeWithdrawn(Strict):
    """A published grade was withdrawn: the submission is as it was handed in."""

    score: tuple[Points | None, None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, None] = Field(description="in the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    grader_id: IdText = Field(description="the user who withdrew it")
    graded_at: TimeText = Field(description="when")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")


class SubmissionPosted(Strict):
    """The current grade, which the student can see from ``posted_at`` on.

    ``graded``: whether the submission is graded; only then a grade_change follows.
    """

    score: Points | None
    grade: str | None
    grader_id: IdText | None
    graded: bool
    posted_at: TimeText


class SubmissionHidden(Strict):
    """The current grade, which the student can no longer see. ``graded``: whether the submission is graded."""

    score: Points | None
    grade: str | None
    grader_id: IdText | None
    graded: bool
