"""Commands as they arrive on the topic (contract sections 2 and 3); unknown fields are refused."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import (
    ITEMS_MAX,
    CommandId,
    Comment,
    CorrelationId,
    Count,
    FreeObject,
    GradeText,
    GradingScheme,
    Id,
    Name,
    Number,
    Percent,
    PlanDigest,
    PointsPossible,
    Reason,
    Text,
    Time,
    Version,
)
from schemas.personal import PERSONAL
from schemas.strict import Strict as Strict


class Actor(Strict):
    user_id: Id


class Envelope(Strict):
    """Fields of every command. The only ``version`` is 1."""

    command_id: CommandId = Field(description="generated once by the producer and reused for every retry")
    version: Version = Field(default=1, description="version of the command's schema")
    issued_at: Time = Field(description="when the producer created the command; for information only")
    root_account_id: Id = Field(description="all other ids are ids of this account")
    course_id: Id = Field(description="its decimal form is the record's key")
    actor: Actor | None = Field(default=None, description="the user who acts; facts have none")
    correlation_id: CorrelationId | None = Field(default=None, description="copied to all resulting records")


class AboutCourse(Envelope):
    assignment_id: Id | None = None


class AboutAssignment(Envelope):
    assignment_id: Id


class LatePolicy(Strict):
    """Canvas's late policy; a field left out keeps its value, initially Canvas's default (nothing is deducted)."""

    late_submission_deduction_enabled: bool = False
    late_submission_deduction: Percent = Field(
        default=Decimal(0),
        description="percent of the points possible deducted for each started interval, kept to two decimals",
    )
    late_submission_interval: Literal["day", "hour"] = "day"
    late_submission_minimum_percent_enabled: bool = False
    late_submission_minimum_percent: Percent = Field(
        default=Decimal(0),
        description="percent of the points possible below which nothing is deducted, kept to two decimals",
    )


class CourseData(Strict):
    name: Name | None = None
    sis_source_id: Text | None = None
    account_id: Id | None = None
    root_account_uuid: Text | None = None
    root_account_lti_guid: Text | None = None
    grading_scheme: GradingScheme | None = None
    late_policy: LatePolicy | None = None


class User(Strict):
    user_id: Id
    name: Annotated[Name | None, PERSONAL] = None
    sortable_name: Annotated[Name | None, PERSONAL] = None
    short_name: Annotated[Name | None, PERSONAL] = None
    sis_user_id: Annotated[Text | None, PERSONAL] = None
    login_id: Annotated[Text | None, PERSONAL] = None
    created_at: Time | None = None


class UsersData(Strict):
    users: Annotated[list[User], Field(max_length=ITEMS_MAX)]


class CoursePermissions(Strict):
    manage_grades: bool | None = None
    view_all_grades: bool | None = None
    select_final_grade: bool | None = None


class Enrollment(Strict):
    user_id: Id
    type: Literal[
        "StudentEnrollment",
        "TeacherEnrollment",
        "TaEnrollment",
        "DesignerEnrollment",
        "ObserverEnrollment",
        "StudentViewEnrollment",
    ] = Field(description="StudentViewEnrollment is Canvas's Test Student, who is never on live-events or caliper")
    state: Literal["active", "inactive", "invited", "creation_pending", "completed", "deleted"] = "active"
    section_id: Id | None = None
    limited_to_section: bool | None = None
    permissions: CoursePermissions | None = None


class EnrollmentsData(Strict):
    enrollments: Annotated[list[Enrollment], Field(max_length=ITEMS_MAX)]


class Admin(Strict):
    user_id: Id
    permissions: Annotated[list[Text], Field(max_length=ITEMS_MAX)]


class AdminsData(Strict):
    admins: Annotated[list[Admin], Field(max_length=ITEMS_MAX)]


class ErasureData(Strict):
    user_id: Id


class AssignmentData(Strict):
    name: Name | None = None
    points_possible: PointsPossible | None = None
    grading_type: Literal["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"] | None = None
    grading_scheme: GradingScheme | None = None
    moderated_grading: bool | None = None
    grader_count: Count | None = None
    final_grader_id: Id | None = None
    anonymous_grading: bool | None = None
    graders_anonymous_to_graders: bool | None = None
    grader_names_visible_to_final_grader: bool | None = None
    grader_comments_visible_to_graders: bool | None = None
    moderation_set: Literal["assigned", "selected"] | None = None
    assigned_to: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None
    deleted: bool | None = None
    adjudication: AdjudicationPolicy | None = Field(
        default=None, description="the adjudication policy; null for none, reset when moderation is switched off"
    )


class SubmissionData(Strict):
    student_id: Id
    submission_id: Id | None = None
    anonymous_id: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z]+$")] | None = None
    attempt: Count | None = None
    submitted_at: Time | None = None
    score: Number | None = None
    grade: GradeText | None = None
    grader_id: Id | None = None
    graded_at: Time | None = None
    excused: bool | None = None
    posted_at: Time | None = None
    seconds_late: Count | None = None
    late_policy_status: Literal["late", "missing", "extended", "none"] | None = None


class SubmissionCommentData(Strict):
    student_id: Id
    author_id: Id
    comment: Annotated[Comment, PERSONAL]
    created_at: Time | None = None


class PostData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None
    posted_at: Time | None = None


class HideData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None


class ProvisionalGradeData(Strict):
    student_id: Id
    posted_grade: GradeText | None = None
    prefer_points_over_scheme: bool | None = Field(
        default=None, description="a number in posted_grade means points, even if a band has that name"
    )
    score: Number | None = None
    excuse: bool | None = None
    final: bool | None = None
    graded_anonymously: bool | None = None
    comment: Annotated[Comment | None, PERSONAL] = None
    rubric_assessment: Annotated[FreeObject | None, PERSONAL] = None


class ProvisionalCommentData(Strict):
    student_id: Id
    comment: Annotated[Comment, PERSONAL]
    final: bool | None = None


class StudentsData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = None


class SelectionData(Strict):
    provisional_grade_id: Id


class BulkSelectionData(Strict):
    provisional_grade_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)]


class NoData(Strict):
    pass


class PublicationData(Strict):
    plan_digest: PlanDigest | None = Field(
        default=None, description="publish only if the plan still has this digest; null or left out: always"
    )
    schedule_id: CommandId | None = Field(
        default=None,
        description="publish only if this schedule is in force; the service sends it when a schedule is due",
    )


class ScheduleData(Strict):
    publish_at: Time = Field(description="time of the publication: in the future, within 400 days")
    plan_digest: PlanDigest | None = Field(
        default=None,
        description="digest of the current plan, which must be publishable; no other plan is published then; "
        "null or left out: any plan",
    )


class AdjudicationPolicyData(Strict):
    adjudication: AdjudicationPolicy | None = Field(description="the policy, null for none")


class AdjudicationData(Strict):
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="students of the moderation set; null or left out: all of them"
    )


class RevisionData(Strict):
    student_id: Id = Field(description="whose grade was published")
    posted_grade: GradeText | None = Field(default=None, description="the new grade as a text")
    score: Number | None = Field(default=None, description="the new grade as a number of points")
    excuse: bool | None = Field(default=None, description="true: excuse the student instead")
    reason: Annotated[Reason, PERSONAL] = Field(description="why, for the audit trail")


class WithdrawalData(Strict):
    student_id: Id = Field(description="whose grade was published")
    reason: Annotated[Reason, PERSONAL] = Field(description="why, for the audit trail")


class SlotData(Strict):
    grader_id: Id = Field(description="the grader whose slot is to be released")


class GraderAllocation(Strict):
    grader_id: Id = Field(description="the grader")
    student_ids: Annotated[list[Id], Field(max_length=ITEMS_MAX)] = Field(description="the students to mark")


class EvenAllocation(Strict):
    grader_ids: Annotated[list[Id], Field(min_length=1, max_length=ITEMS_MAX)] = Field(description="the graders")
    marks: Annotated[int, Field(strict=True, ge=1, le=10)] = Field(
        description="number of graders for each student of the moderation set"
    )


class AllocationData(Strict):
    """Either ``allocations`` or ``evenly``; they replace the graders of the listed students."""

    allocations: Annotated[list[GraderAllocation], Field(max_length=ITEMS_MAX)] | None = Field(
        default=None, description="each grader with the students to mark"
    )
    evenly: EvenAllocation | None = Field(
        default=None,
        description="distribute the moderation set over graders; their numbers of students differ by at most one",
    )
    enforced: bool | None = Field(
        default=None,
        description="true: refuse other graders (`not_allocated`), except moderators and for students who need a third "
        "mark; null or left out: unchanged, initially false",
    )


class SampleData(Strict):
    """The sample size is the largest of ``percent``, ``at_least`` and ``square_root``; ``include`` adds students."""

    percent: Percent | None = Field(default=None, description="of the students with a mark, rounded up")
    at_least: Count | None = Field(default=None, description="students, or all with a mark if they are fewer")
    square_root: bool | None = Field(default=None, description="true: the square root of their number, rounded up")
    include: Annotated[list[Literal["failing", "borderline"]], Field(max_length=2)] | None = Field(
        default=None,
        description="failing: all whose first mark is below the first boundary of policy or scheme, else below 50 %; "
        "borderline: all whose first mark is near a boundary; neither while students are hidden",
    )
    borderline_within: Percent | None = Field(
        default=None, description="with borderline: maximum distance, in percent of the points possible"
    )
    strata: Annotated[int, Field(strict=True, ge=1, le=100)] | None = Field(
        default=None,
        description="number of equal parts of the order of first marks, from each of which is drawn; default 3",
    )


class UpsertCourse(AboutCourse):
    """Creates or updates a course: names, account, default grading scheme, late policy."""

    type: Literal["upsert_course"]
    data: CourseData


class UpsertUsers(AboutCourse):
    """Creates or updates users by id; the first record of a user needs their name."""

    type: Literal["upsert_users"]
    data: UsersData


class UpsertEnrollments(AboutCourse):
    """Creates or updates enrollments; one enrollment is (user, type, section)."""

    type: Literal["upsert_enrollments"]
    data: EnrollmentsData


class UpsertAdmins(AboutCourse):
    """Creates or updates account-level roles for this course; an empty list of permissions removes a role."""

    type: Literal["upsert_admins"]
    data: AdminsData


class ErasePerson(AboutCourse):
    """Permanently erases a person's data in this course: names, logins, SIS ids, comments on their work."""

    type: Literal["erase_person"]
    data: ErasureData


class ConfigureAssignment(AboutAssignment):
    """Creates or updates an assignment's settings; the first one creates the assignment."""

    type: Literal["configure_assignment"]
    data: AssignmentData


class RecordSubmission(AboutAssignment):
    """Records a student's submission and its gradebook entry."""

    type: Literal["record_submission"]
    data: SubmissionData


class RecordSubmissionComment(AboutAssignment):
    """Records an ordinary comment that already exists on a submission."""

    type: Literal["record_submission_comment"]
    data: SubmissionCommentData


class PostGrades(AboutAssignment):
    """Makes grades visible to students. Each changed submission gets another grade_change, not muted."""

    type: Literal["post_grades"]
    data: PostData


class HideGrades(AboutAssignment):
    """Hides grades from students again. Each changed submission gets another grade_change, muted."""

    type: Literal["hide_grades"]
    data: HideData


class RecordProvisionalGrade(AboutAssignment):
    """Gives, changes or clears a provisional grade, with or without a comment; or excuses the student."""

    type: Literal["record_provisional_grade"]
    data: ProvisionalGradeData


class RecordProvisionalComment(AboutAssignment):
    """Comments on a provisional grade, and creates one without a score if there is none."""

    type: Literal["record_provisional_comment"]
    data: ProvisionalCommentData


class SelectStudentsForModeration(AboutAssignment):
    """Adds students to the moderation set."""

    type: Literal["select_students_for_moderation"]
    data: StudentsData


class SelectProvisionalGrade(AboutAssignment):
    """Selects a provisional grade for its student."""

    type: Literal["select_provisional_grade"]
    data: SelectionData


class BulkSelectProvisionalGrades(AboutAssignment):
    """Selects provisional grades for many students; the last one of each student counts."""

    type: Literal["bulk_select_provisional_grades"]
    data: BulkSelectionData


class PublishProvisionalGrades(AboutAssignment):
    """Publishes the selected grades of all students, or none at all."""

    type: Literal["publish_provisional_grades"]
    data: PublicationData


class PlanPublication(AboutAssignment):
    """Previews a publication by the actor; changes nothing."""

    type: Literal["plan_publication"]
    data: NoData


class SchedulePublication(AboutAssignment):
    """Sets the time at which the service publishes for the actor; replaces an earlier schedule."""

    type: Literal["schedule_publication"]
    data: ScheduleData


class CancelScheduledPublication(AboutAssignment):
    """Cancels the schedule in force, even if its publication was refused."""

    type: Literal["cancel_scheduled_publication"]
    data: NoData


class SetAdjudicationPolicy(AboutAssignment):
    """Sets the adjudication policy, like configure_assignment, but for moderators."""

    type: Literal["set_adjudication_policy"]
    data: AdjudicationPolicyData


class AdjudicateProvisionalGrades(AboutAssignment):
    """Selects or records the agreed scores, and lists the students who need a third mark or the moderator."""

    type: Literal["adjudicate_provisional_grades"]
    data: AdjudicationData


class RevisePublishedGrade(AboutAssignment):
    """Replaces a student's published grade; exactly one of posted_grade, score and excuse is a value."""

    type: Literal["revise_published_grade"]
    data: RevisionData


class WithdrawPublishedGrade(AboutAssignment):
    """Withdraws a student's published grade: no score, no grade, no excusal."""

    type: Literal["withdraw_published_grade"]
    data: WithdrawalData


class ReleaseGraderSlot(AboutAssignment):
    """Releases the slot of a grader who has entered no grade; comments alone do not prevent that."""

    type: Literal["release_grader_slot"]
    data: SlotData


class DrawModerationSample(AboutAssignment):
    """Adds a sample of the students with a mark to a hand-picked moderation set; students already in it count."""

    type: Literal["draw_moderation_sample"]
    data: SampleData


class AllocateSubmissions(AboutAssignment):
    """Allocates students to graders, by id or evenly over the moderation set."""

    type: Literal["allocate_submissions"]
    data: AllocationData


Command = (
    UpsertCourse
    | UpsertUsers
    | UpsertEnrollments
    | UpsertAdmins
    | ErasePerson
    | ConfigureAssignment
    | RecordSubmission
    | RecordSubmissionComment
    | PostGrades
    | HideGrades
    | RecordProvisionalGrade
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
COMMAND: TypeAdapter[Command] = TypeAdapter(Annotated[Command, Field(discriminator="type")])
