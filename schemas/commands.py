"""Commands as they arrive on the topic (contract sections 2 and 3); unknown fields are refused."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from schemas.fact_data import (
    AdminsData,
    AssignmentData,
    CourseData,
    EnrollmentsData,
    ErasureData,
    HideData,
    PostData,
    SubmissionCommentData,
    SubmissionData,
    UsersData,
)
from schemas.fields import (
    CommandId,
    CorrelationId,
    Id,
    Time,
    Version,
)
from schemas.moderation_data import (
    AdjudicationData,
    AdjudicationPolicyData,
    AllocationData,
    BulkSelectionData,
    NoData,
    ProvisionalCommentData,
    ProvisionalGradeData,
    PublicationData,
    RevisionData,
    SampleData,
    ScheduleData,
    SelectionData,
    SlotData,
    StudentsData,
    WithdrawalData,
)
from schemas.strict import Strict

TYPE = Field(description="the command's type; it determines the fields of `data`")
DATA = Field(description="what is requested, or the facts")


class Actor(Strict):
    user_id: Id = Field(description="the user on whose behalf the command is sent; with COMMAND_AUTH the token's `sub`")


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
    assignment_id: Id | None = Field(default=None, description="not used: these commands concern the course")


class AboutAssignment(Envelope):
    assignment_id: Id = Field(description="the assignment that the command concerns")


class UpsertCourse(AboutCourse):
    """Creates or updates a course: names, account, default grading scheme, late policy."""

    type: Annotated[Literal["upsert_course"], TYPE]
    data: Annotated[CourseData, DATA]


class UpsertUsers(AboutCourse):
    """Creates or updates users by id; the first record of a user needs their name."""

    type: Annotated[Literal["upsert_users"], TYPE]
    data: Annotated[UsersData, DATA]


class UpsertEnrollments(AboutCourse):
    """Creates or updates enrollments; one enrollment is (user, type, section)."""

    type: Annotated[Literal["upsert_enrollments"], TYPE]
    data: Annotated[EnrollmentsData, DATA]


class UpsertAdmins(AboutCourse):
    """Creates or updates account-level roles for this course; an empty list of permissions removes a role."""

    type: Annotated[Literal["upsert_admins"], TYPE]
    data: Annotated[AdminsData, DATA]


class ErasePerson(AboutCourse):
    """Permanently erases a person's data in this course: names, logins, SIS ids, comments on their work."""

    type: Annotated[Literal["erase_person"], TYPE]
    data: Annotated[ErasureData, DATA]


class ConfigureAssignment(AboutAssignment):
    """Creates or updates an assignment's settings; the first one creates the assignment."""

    type: Annotated[Literal["configure_assignment"], TYPE]
    data: Annotated[AssignmentData, DATA]


class RecordSubmission(AboutAssignment):
    """Records a student's submission and its gradebook entry."""

    type: Annotated[Literal["record_submission"], TYPE]
    data: Annotated[SubmissionData, DATA]


class RecordSubmissionComment(AboutAssignment):
    """Records an ordinary comment that already exists on a submission."""

    type: Annotated[Literal["record_submission_comment"], TYPE]
    data: Annotated[SubmissionCommentData, DATA]


class PostGrades(AboutAssignment):
    """Makes grades visible to students. Each changed submission gets another grade_change, not muted."""

    type: Annotated[Literal["post_grades"], TYPE]
    data: Annotated[PostData, DATA]


class HideGrades(AboutAssignment):
    """Hides grades from students again. Each changed submission gets another grade_change, muted."""

    type: Annotated[Literal["hide_grades"], TYPE]
    data: Annotated[HideData, DATA]


class RecordProvisionalGrade(AboutAssignment):
    """Gives, changes or clears a provisional grade, with or without a comment; or excuses the student."""

    type: Annotated[Literal["record_provisional_grade"], TYPE]
    data: Annotated[ProvisionalGradeData, DATA]


class RecordProvisionalComment(AboutAssignment):
    """Comments on a provisional grade, and creates one without a score if there is none."""

    type: Annotated[Literal["record_provisional_comment"], TYPE]
    data: Annotated[ProvisionalCommentData, DATA]


class SelectStudentsForModeration(AboutAssignment):
    """Adds students to the moderation set."""

    type: Annotated[Literal["select_students_for_moderation"], TYPE]
    data: Annotated[StudentsData, DATA]


class SelectProvisionalGrade(AboutAssignment):
    """Selects a provisional grade for its student."""

    type: Annotated[Literal["select_provisional_grade"], TYPE]
    data: Annotated[SelectionData, DATA]


class BulkSelectProvisionalGrades(AboutAssignment):
    """Selects provisional grades for many students; the last one of each student counts."""

    type: Annotated[Literal["bulk_select_provisional_grades"], TYPE]
    data: Annotated[BulkSelectionData, DATA]


class PublishProvisionalGrades(AboutAssignment):
    """Publishes the selected grades of all students, or none at all."""

    type: Annotated[Literal["publish_provisional_grades"], TYPE]
    data: Annotated[PublicationData, DATA]


class PlanPublication(AboutAssignment):
    """Previews a publication by the actor; changes nothing."""

    type: Annotated[Literal["plan_publication"], TYPE]
    data: Annotated[NoData, DATA]


class SchedulePublication(AboutAssignment):
    """Sets the time at which the service publishes for the actor; replaces an earlier schedule."""

    type: Annotated[Literal["schedule_publication"], TYPE]
    data: Annotated[ScheduleData, DATA]


class CancelScheduledPublication(AboutAssignment):
    """Cancels the schedule in force, even if its publication was refused."""

    type: Annotated[Literal["cancel_scheduled_publication"], TYPE]
    data: Annotated[NoData, DATA]


class SetAdjudicationPolicy(AboutAssignment):
    """Sets the adjudication policy, like configure_assignment, but for moderators."""

    type: Annotated[Literal["set_adjudication_policy"], TYPE]
    data: Annotated[AdjudicationPolicyData, DATA]


class AdjudicateProvisionalGrades(AboutAssignment):
    """Selects or records the agreed scores, and lists the students who need a third mark or the moderator."""

    type: Annotated[Literal["adjudicate_provisional_grades"], TYPE]
    data: Annotated[AdjudicationData, DATA]


class RevisePublishedGrade(AboutAssignment):
    """Replaces a student's published grade; exactly one of posted_grade, score and excuse is a value."""

    type: Annotated[Literal["revise_published_grade"], TYPE]
    data: Annotated[RevisionData, DATA]


class WithdrawPublishedGrade(AboutAssignment):
    """Withdraws a student's published grade: no score, no grade, no excusal."""

    type: Annotated[Literal["withdraw_published_grade"], TYPE]
    data: Annotated[WithdrawalData, DATA]


class ReleaseGraderSlot(AboutAssignment):
    """Releases the slot of a grader who has entered no grade; comments alone do not prevent that."""

    type: Annotated[Literal["release_grader_slot"], TYPE]
    data: Annotated[SlotData, DATA]


class DrawModerationSample(AboutAssignment):
    """Adds a sample of the students with a mark to a hand-picked moderation set; students already in it count."""

    type: Annotated[Literal["draw_moderation_sample"], TYPE]
    data: Annotated[SampleData, DATA]


class AllocateSubmissions(AboutAssignment):
    """Allocates students to graders, by id or evenly over the moderation set."""

    type: Annotated[Literal["allocate_submissions"], TYPE]
    data: Annotated[AllocationData, DATA]


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
