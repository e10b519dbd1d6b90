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

    late_submission_deduction_enabled: bool = Field(description="whether late submissions lose points")
    late_submission_deduction: Points = Field(
        description="percent of the points possible deducted for each started interval"
    )
    late_submission_interval: Literal["day", "hour"] = Field(
        description="the interval, of which a started one counts as a whole"
    )
    late_submission_minimum_percent_enabled: bool = Field(description="whether the deduction stops at the minimum")
    late_submission_minimum_percent: Points = Field(
        description="percent of the points possible below which nothing is deducted"
    )


class CourseUpdated(Strict):
    """The course as sent by the LMS: names, account, default grading scheme, late policy."""

    name: Changed[str] = Field(default=None, description="old and new")
    sis_source_id: Changed[str] = Field(default=None, description="old and new")
    account_id: Changed[IdText] = Field(default=None, description="old and new")
    root_account_uuid: Changed[str] = Field(default=None, description="old and new")
    root_account_lti_guid: Changed[str] = Field(default=None, description="old and new")
    grading_scheme: Changed[Bands] = Field(default=None, description="old and new")
    late_policy: Changed[LatePolicy] = Field(default=None, description="old and new")


class User(Strict):
    user_id: IdText = Field(description="the user")
    name: Annotated[str | None, PERSONAL] = Field(default=None, description="full name; required on first mention")
    sortable_name: Annotated[str | None, PERSONAL] = Field(
        default=None, description="such as `Lovelace, Ada`; lists are sorted by it"
    )
    short_name: Annotated[str | None, PERSONAL] = Field(default=None, description="display name")
    sis_user_id: Annotated[str | None, PERSONAL] = Field(
        default=None, description="id in the student information system; published grades carry it"
    )
    login_id: Annotated[str | None, PERSONAL] = Field(
        default=None, description="login name; live events carry the actor's"
    )
    created_at: TimeText | None = Field(default=None, description="when the account was created")


class UsersUpdated(Strict):
    """Users of the course, new values only. No other event holds names, logins or SIS ids."""

    users: list[User] = Field(description="the users, with the values that are new")


class Enrollment(Strict):
    user_id: IdText = Field(description="the user")
    type: EnrollmentType = Field(
        description="StudentEnrollment and StudentViewEnrollment are graded, the others are staff or observers"
    )
    section_id: IdText | None = Field(description="the section, part of the enrollment's key; null: none")
    state: EnrollmentState = Field(
        description="only active and inactive students are graded; Canvas's concluded is completed"
    )
    limited_to_section: bool = Field(description="true: staff see only students of this section")
    permissions: dict[str, bool] = Field(description="overrides of the type's default permissions")


class EnrollmentsUpdated(Strict):
    """Enrollments in the course, as complete rows; one enrollment is (user, type, section)."""

    enrollments: list[Enrollment] = Field(description="the enrollments that changed")


class Admin(Strict):
    user_id: IdText = Field(description="the user")
    permissions: list[str] = Field(
        description="such as manage_grades, view_all_grades, select_final_grade, view_audit_trail; empty: no role"
    )


class AdminsUpdated(Strict):
    """Account-level roles, as complete rows; a role without permissions was removed."""

    admins: list[Admin] = Field(description="the roles that changed")


class PersonErased(Strict):
    """A person's names, logins, SIS ids, comments and rubric assessments of their work were permanently erased.

    From this event on they are null wherever the service shows or publishes them. Grades and ids stay.
    """

    user_id: IdText = Field(description="the erased person")


class AssignmentCreated(Strict):
    """An assignment with all settings that have a value."""

    name: str = Field(description="shown to people and in published grades")
    points_possible: Points | LeftOut = Field(default=None, description="points of a full score")
    grading_type: GradingType = Field(description="how `posted_grade` is read and a grade is written")
    grading_scheme: Bands | LeftOut = Field(default=None, description="pairs of name and lower bound as a fraction")
    moderated_grading: bool = Field(description="whether grades are provisional until they are published")
    grader_count: Count | LeftOut = Field(
        default=None, description="number of slots: graders besides the final grader who may grade"
    )
    final_grader_id: IdText | LeftOut = Field(default=None, description="the user who selects and publishes")
    anonymous_grading: bool | LeftOut = Field(
        default=None, description="whether students are hidden from graders until grades are published"
    )
    graders_anonymous_to_graders: bool | LeftOut = Field(
        default=None, description="whether graders see each other only by anonymous ids"
    )
    grader_names_visible_to_final_grader: bool | LeftOut = Field(
        default=None, description="whether the final grader sees the graders' names"
    )
    grader_comments_visible_to_graders: bool | LeftOut = Field(
        default=None, description="whether graders see each other's comments"
    )
    moderation_set: ModerationSet | LeftOut = Field(
        default=None,
        description="`assigned`: all assigned students are in the set; `selected`: those who were added to it",
    )
    assigned_to: list[IdText] | LeftOut = Field(default=None, description="the assigned students")
    deleted: bool | LeftOut = Field(
        default=None, description="true: the assignment no longer exists, and commands are answered with not_found"
    )
    adjudication: AdjudicationPolicy | LeftOut = Field(default=None, description="the adjudication policy")


class AssignmentUpdated(Strict):
    """Settings that changed.

    ``kept_in_moderation_set``: students who stay in the set when it becomes hand-picked.
    """

    name: Changed[str] = Field(default=None, description="old and new")
    points_possible: Changed[Points] = Field(default=None, description="old and new")
    grading_type: Changed[GradingType] = Field(default=None, description="old and new")
    grading_scheme: Changed[Bands] = Field(default=None, description="old and new")
    moderated_grading: Changed[bool] = Field(default=None, description="old and new")
    grader_count: Changed[Count] = Field(default=None, description="old and new")
    final_grader_id: Changed[IdText] = Field(default=None, description="old and new")
    anonymous_grading: Changed[bool] = Field(default=None, description="old and new")
    graders_anonymous_to_graders: Changed[bool] = Field(default=None, description="old and new")
    grader_names_visible_to_final_grader: Changed[bool] = Field(default=None, description="old and new")
    grader_comments_visible_to_graders: Changed[bool] = Field(default=None, description="old and new")
    moderation_set: Changed[ModerationSet] = Field(default=None, description="old and new")
    assigned_to: Changed[list[IdText]] = Field(default=None, description="old and new")
    deleted: Changed[bool] = Field(default=None, description="old and new")
    adjudication: Changed[AdjudicationPolicy] = Field(default=None, description="old and new")
    kept_in_moderation_set: list[IdText] | LeftOut = Field(
        default=None, description="students who stay in the set when it becomes hand-picked"
    )


class SubmissionRecorded(Strict):
    """The submission's gradebook entry as sent by the LMS, new values only."""

    submission_id: IdText | None = Field(default=None, description="the LMS's id")
    anonymous_id: AnonymousId | None = Field(default=None, description="the submission's anonymous id")
    attempt: Count | None = Field(default=None, description="number of the attempt; the latest one is graded")
    submitted_at: TimeText | None = Field(default=None, description="when it was handed in; null: not handed in")
    score: Points | None = Field(default=None, description="the gradebook's score in points, as the LMS has it")
    grade: str | None = Field(default=None, description="the gradebook's grade as a text, as the LMS has it")
    grader_id: IdText | None = Field(default=None, description="who gave the gradebook's grade")
    graded_at: TimeText | None = Field(default=None, description="when the gradebook's grade was given")
    excused: bool | LeftOut = Field(default=None, description="whether the student is excused")
    posted_at: TimeText | None = Field(
        default=None, description="since when the student may see the grade; null: hidden"
    )
    seconds_late: Count | None = Field(default=None, description="how late it was handed in; a late policy uses it")
    late_policy_status: LatePolicyStatus | None = Field(
        default=None,
        description="replaces what the times give; null: by the times",
    )


class SubmissionCommentRecorded(Strict):
    """An ordinary comment that already existed on the submission."""

    author_id: IdText = Field(description="the user who wrote it")
    comment: Annotated[str | None, PERSONAL] = Field(description="the text; null once the student was erased")
    created_at: TimeText = Field(description="when it was written")


class GraderSlotTaken(Strict):
    """A grader took a slot. ``anonymous_id`` replaces their name if graders are anonymous."""

    grader_id: IdText = Field(description="the grader")
    anonymous_id: AnonymousId = Field(description="the grader's, shown while graders are anonymous")


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

    student_ids: list[IdText] = Field(description="the students who are new in the set")
    sampled: list[SampledStudent] | LeftOut = Field(
        default=None, description="for a drawn sample: the reasons for each student"
    )


class ProvisionalGradeCreated(Strict):
    """A provisional grade. ``graded_at`` is null if only a comment created it: it then counts as not entered."""

    id: IdText = Field(description="the provisional grade")
    score: Points | None = Field(description="in points")
    grade: str | None = Field(description="as a text in the form of the grading type")
    graded_at: TimeText | None = Field(description="when it was entered; null: only comments")
    final: bool = Field(description="whether it is the moderator's final grade")
    source_provisional_grade_id: IdText | None = Field(description="Canvas's field, always null")
    graded_anonymously: bool | None = Field(description="as sent")
    scorer_id: IdText = Field(description="the grader")
    rubric_assessment: Annotated[dict[str, Any] | None, PERSONAL] = Field(
        default=None, description="as sent; null once the student was erased"
    )


class ProvisionalGradeUpdated(Strict):
    """A grader changed their own provisional grade, or the moderator the final one."""

    id: IdText = Field(description="the provisional grade")
    score: Changed[Points] = Field(default=None, description="old and new")
    grade: Changed[str] = Field(default=None, description="old and new")
    graded_at: Changed[TimeText] = Field(default=None, description="old and new")
    graded_anonymously: Changed[bool] = Field(default=None, description="old and new")
    scorer_id: Changed[IdText] = Field(default=None, description="old and new")
    rubric_assessment: Annotated[Changed[dict[str, Any]], PERSONAL] = Field(
        default=None, description="old and new; null once the student was erased"
    )


class ProvisionalCommentCreated(Strict):
    """A comment on a provisional grade. ``id`` is the comment's."""

    id: IdText = Field(description="the comment")
    comment: Annotated[str | None, PERSONAL] = Field(description="the text; null once the student was erased")
    author_id: IdText = Field(description="the user who wrote it")
    provisional_grade_id: IdText = Field(description="the grade that it is on")


class ProvisionalGradeSelected(Strict):
    """The moderator selected this provisional grade for the student."""

    id: IdText = Field(description="the selected provisional grade")
    student_id: IdText = Field(description="its student")


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

    excused: tuple[bool, bool] = Field(description="old and new")
    score: Changed[Points] = Field(default=None, description="in the gradebook, old and new")
    grade: Changed[str] = Field(default=None, description="in the gradebook, old and new")
    grader_id: Changed[IdText] = Field(default=None, description="old and new")
    late_policy_status: Changed[LatePolicyStatus] = Field(default=None, description="old and new")
    seconds_late: Changed[Count] = Field(default=None, description="old and new")


class GradePublished(Strict):
    """One student's grade was published: the chosen provisional grade, its scorer, old and new grade.

    The new score is the entered score minus the points deducted by a late policy; ``points_deducted`` is null if the
    submission was not late. ``was_graded``: whether the submission was already graded.
    """

    provisional_grade_id: IdText = Field(description="the chosen one")
    scorer_id: IdText = Field(description="the grader who gave it")
    score: tuple[Points | None, Points | None] = Field(description="in the gradebook, old and new")
    grade: tuple[str | None, str | None] = Field(description="in the gradebook, old and new")
    entered_score: Points | None = Field(description="the new score before a late policy's deduction")
    points_deducted: Points | None = Field(description="by a late policy; null if the submission was not late")
    graded_at: TimeText = Field(description="time of the publication")
    graded_anonymously: bool | None = Field(description="of the chosen grade")
    was_graded: bool = Field(description="whether the submission was graded before")


class GradesPosted(Strict):
    """The publication as a whole, after its last grade. The name is Canvas's."""

    grades_published_at: tuple[None, TimeText] = Field(description="null, and the time of the publication")


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

    score: Points | None = Field(description="in the gradebook")
    grade: str | None = Field(description="in the gradebook")
    grader_id: IdText | None = Field(description="who gave it")
    graded: bool = Field(description="whether it is graded: only then a grade_change follows")
    posted_at: TimeText = Field(description="old and new")


class SubmissionHidden(Strict):
    """The current grade, which the student can no longer see. ``graded``: whether the submission is graded."""

    score: Points | None = Field(description="in the gradebook")
    grade: str | None = Field(description="in the gradebook")
    grader_id: IdText | None = Field(description="who gave it")
    graded: bool = Field(description="whether it is graded: only then a grade_change follows")
