"""Payloads of the domain events, one class a name (contract section 5).

Where Canvas audits the same fact the payload is Canvas's: plain values when created, ``[old, new]`` for what changed.
What did not change, or was not stated, is left out; null is a value. Ids are decimal strings, scores numbers, times
RFC 3339 in milliseconds. Fields marked ``x-personal`` become null when their person is erased (``person_erased``).
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from schemas.adjudication import AdjudicationPolicy
from schemas.commands import Strict
from schemas.fields import DIGEST_PATTERN, UUID_PATTERN, IdText, TimeText
from schemas.personal import PERSONAL

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
    """What the LMS states of the course: names, account, default grading scheme, late policy."""

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
    """People of the course, new values only. Their names, logins and SIS ids stand here and nowhere else."""

    users: list[User]


class Enrollment(Strict):
    user_id: IdText
    type: EnrollmentType
    section_id: IdText | None
    state: EnrollmentState
    limited_to_section: bool
    permissions: dict[str, bool]


class EnrollmentsUpdated(Strict):
    """Who is in the course as what: whole rows; one enrollment is (user, type, section)."""

    enrollments: list[Enrollment]


class Admin(Strict):
    user_id: IdText
    permissions: list[str]


class AdminsUpdated(Strict):
    """Account-level roles: whole rows; no permissions: the role was removed."""

    admins: list[Admin]


class PersonErased(Strict):
    """A person's names, logins and SIS ids, and the comments and rubric assessments of their work, are gone for good.

    From here on they are null wherever the service shows or publishes them. Grades and ids stay.
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

    ``kept_in_moderation_set``: students who stay in a set that is hand-picked from now on.
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
    """The gradebook as the LMS states it, new values only."""

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
    """An ordinary comment that was on the submission already."""

    author_id: IdText
    comment: Annotated[str | None, PERSONAL]
    created_at: TimeText


class GraderSlotTaken(Strict):
    """A grader took a slot. ``anonymous_id``: how they are named where graders are anonymous."""

    grader_id: IdText
    anonymous_id: AnonymousId


class GraderSlotReleased(Strict):
    """A slot was given back; its grader keeps the anonymous id, and takes a slot again with the next work."""

    grader_id: IdText = Field(description="whose slot it was")
    anonymous_id: AnonymousId = Field(description="of the grader, now and later")


class SampledStudent(Strict):
    """Why a sample has a student."""

    student_id: IdText = Field(description="one of student_ids")
    reasons: Annotated[list[Literal["drawn", "failing", "borderline"]], Field(min_length=1)] = Field(
        description="drawn by lot, below the first boundary, near a boundary"
    )


class StudentsSelectedForModeration(Strict):
    """Students who were added to the moderation set, by hand or as a sample."""

    student_ids: list[IdText]
    sampled: list[SampledStudent] | LeftOut = Field(
        default=None, description="of a drawn sample the reasons for each student"
    )


class ProvisionalGradeCreated(Strict):
    """A provisional grade. ``graded_at`` is null where a comment alone made it: it counts as not entered."""

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
    """A comment on a provisional grade. ``id``: the comment's."""

    id: IdText
    comment: Annotated[str | None, PERSONAL]
    author_id: IdText
    provisional_grade_id: IdText


class ProvisionalGradeSelected(Strict):
    """The moderator chose this provisional grade for the student."""

    id: IdText
    student_id: IdText


class AdjudicatedMark(Strict):
    """A mark that counts."""

    provisional_grade_id: IdText = Field(description="the provisional grade")
    scorer_id: IdText = Field(description="who gave it")
    score: Points = Field(description="its score when it was adjudicated")


class MarkComparison(Strict):
    """A comparison of the marks with its figures."""

    rule: Literal["within_points", "within_percent", "boundaries"] = Field(description="the policy's field")
    passed: bool = Field(description="whether the marks agree by it")
    distance: str | LeftOut = Field(default=None, description="between highest and lowest mark, in points")
    limit: str | LeftOut = Field(default=None, description="how far they may be apart, in points")
    bands: list[Count] | LeftOut = Field(default=None, description="of boundaries: the band of each mark, from below")


class ProvisionalGradeAdjudicated(Strict):
    """What a policy made of a student's marks; Canvas's events follow for what it did."""

    policy: AdjudicationPolicy = Field(description="in full")
    policy_version: Annotated[int, Field(ge=1)] = Field(description="stream version at which it was set")
    points_possible: Points = Field(description="of the assignment, 0 for none")
    grading_type: GradingType = Field(description="of the assignment")
    grading_scheme: Bands | None = Field(description="in force, where it gives the boundaries and is not Canvas's own")
    marks: list[AdjudicatedMark] = Field(description="those that count, as they were first entered")
    comparisons: list[MarkComparison] = Field(description="that the policy asks for")
    outcome: Literal["kept", "waiting", "agreed", "needs_third_mark", "needs_moderator"] = Field(
        description="kept: a moderator decided by hand, or the student is excused"
    )
    score: Points | None = Field(description="that was agreed")
    failed: list[Literal["within_points", "within_percent", "boundaries"]] = Field(
        description="comparisons by which the marks do not agree"
    )
    missing: Count = Field(description="marks that are still needed")
    provisional_grade_id: IdText | None = Field(description="what is selected afterwards")
    records_final: bool = Field(description="whether the score is recorded as a final grade, which no grader gave")
    selects: bool = Field(description="whether a selection follows")


class SubmissionUpdated(Strict):
    """An excusal that a moderator gave or lifted, with what it changed of the gradebook."""

    excused: tuple[bool, bool]
    score: Changed[Points] = None
    grade: Changed[str] = None
    grader_id: Changed[IdText] = None
    late_policy_status: Changed[LatePolicyStatus] = None
    seconds_late: Changed[Count] = None


class GradePublished(Strict):
    """One student's grade was published: the chosen provisional grade, its scorer, old and new grade.

    The new score is the entered one less the points deducted by a late policy; ``points_deducted`` is null where the
    submission was not late. ``was_graded``: the submission's state before.
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
    """The publication as a whole; it closes one. Canvas's name for it."""

    grades_published_at: tuple[None, TimeText]


class PublicationScheduled(Strict):
    """The service will publish at a set time; a schedule before has ended."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(
        description="the id of the command that scheduled it"
    )
    publish_at: TimeText = Field(description="when")
    user_id: IdText = Field(description="on whose behalf")
    plan_digest: Annotated[str, Field(pattern=DIGEST_PATTERN)] | None = Field(
        description="the only plan that is published then; null: any"
    )


class PublicationScheduleCancelled(Strict):
    """A schedule has ended without a publication."""

    schedule_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the schedule's")
    publish_at: TimeText = Field(description="when it would have published")


class GradeRevised(Strict):
    """A published grade became another one, or an excusal, which ends a late policy status."""

    score: tuple[Points | None, Points | None] = Field(description="of the gradebook, old and new")
    grade: tuple[str | None, str | None] = Field(description="of the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    entered_score: Points | None = Field(description="the new score before a late policy's deduction")
    points_deducted: Points | None = Field(description="by a late policy, null where the submission was not late")
    grader_id: IdText = Field(description="who revised it")
    graded_at: TimeText = Field(description="when")
    was_graded: bool = Field(description="whether the submission's state was graded before")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")


class GradeWithdrawn(Strict):
    """A published grade was taken back: the submission is as it was handed in."""

    score: tuple[Points | None, None] = Field(description="of the gradebook, old and new")
    grade: tuple[str | None, None] = Field(description="of the gradebook, old and new")
    excused: tuple[bool, bool] = Field(description="old and new")
    grader_id: IdText = Field(description="who withdrew it")
    graded_at: TimeText = Field(description="when")
    reason: Annotated[str | None, PERSONAL] = Field(description="why; null once the student was erased")


class SubmissionPosted(Strict):
    """The grade as it stands, which the student can see from ``posted_at`` on.

    ``graded``: the submission's state; a grade_change follows only for a graded one.
    """

    score: Points | None
    grade: str | None
    grader_id: IdText | None
    graded: bool
    posted_at: TimeText


class SubmissionHidden(Strict):
    """The grade as it stands, which the student can no longer see. ``graded``: the submission's state."""

    score: Points | None
    grade: str | None
    grader_id: IdText | None
    graded: bool
