"""Response body of ``GET /api/moderation/v1/assignments/:assignment_id/state`` (contract section 6).

Ids are as in ``schemas.canvas``; times are RFC 3339 in UTC, in milliseconds; scores are points.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from schemas.canvas.values import AnonymousId, Id, Moment
from schemas.event_payloads.values import LatePolicyStatus
from schemas.moderation_results import GraderProgress


class Member(BaseModel):
    student_id: Id = Field(description="the student")
    selected_provisional_grade_id: Id | None = Field(description="the provisional grade that is selected; null: none")
    sample_reasons: list[Literal["drawn", "failing", "borderline"]] = Field(
        description="why a drawn sample includes the student; empty for other students"
    )


class ModerationGrader(BaseModel):
    user_id: Id = Field(description="the grader")
    anonymous_id: AnonymousId = Field(description="the grader's anonymous id, kept if the slot is released")
    slot_taken: bool = Field(description="whether the grader occupies a slot")


class StateComment(BaseModel):
    author_id: Id = Field(description="the author")
    comment: str | None = Field(description="the text; null once its person was erased")
    created_at: Moment = Field(description="when it was written")


class StateGrade(BaseModel):
    """A provisional grade, as it would be published now, before a late policy's deduction."""

    provisional_grade_id: Id = Field(description="the provisional grade")
    student_id: Id = Field(description="the student")
    scorer_id: Id = Field(description="the grader")
    score: float | None = Field(description="score in points; null without a score")
    grade: str | None = Field(description="grade as text in the form of the grading type; null without a grade")
    graded_at: Moment | None = Field(description="when the grade was entered; null: only comments")
    final: bool = Field(description="whether it is a moderator's final grade")
    graded_anonymously: bool | None = Field(description="whether the grader did not see the student's name, as sent")
    submission_comments: list[StateComment] = Field(description="comments of this grade, oldest first")


class StateSubmission(BaseModel):
    student_id: Id = Field(description="the student")
    submission_id: Id = Field(description="the submission, as the LMS has it or generated once")
    anonymous_id: AnonymousId = Field(description="anonymous id of the submission, as the LMS has it or generated once")
    workflow_state: str = Field(description="`unsubmitted`, `submitted` or `graded`")
    attempt: int | None = Field(description="number of the student's attempt, from 1; null: none")
    submitted_at: Moment | None = Field(description="when the student handed it in; null: not handed in")
    score: float | None = Field(description="score in points, minus a late policy's deduction; null: none")
    grade: str | None = Field(description="grade as text in the form of the grading type; null: none")
    grader_id: Id | None = Field(description="grader of the grade in the gradebook; null: none")
    graded_at: Moment | None = Field(description="time of the decision on the grade; null: never graded")
    excused: bool = Field(description="whether the student is excused")
    posted_at: Moment | None = Field(description="when the grade was posted to the student; null: hidden")
    grade_matches_current_submission: bool = Field(
        description="whether the student has not resubmitted since the grade was given"
    )
    graded_anonymously: bool | None = Field(
        description="of the published provisional grade; null: not stated or not published"
    )
    updated_at: Moment | None = Field(description="last change of the submission or of a provisional grade; null: none")
    seconds_late: Annotated[int, Field(ge=0)] | None = Field(
        description="seconds after the due date, as the LMS has sent them; null: not sent"
    )
    late_policy_status: LatePolicyStatus | None = Field(
        description="status that the LMS has set by hand; null: derived from the times"
    )
    entered_score: float | None = Field(description="score in points before the late policy's deduction")
    entered_grade: str | None = Field(description="grade as text before the late policy's deduction")
    points_deducted: float | None = Field(description="points that the late policy deducted; null: not late")
    submission_comments: list[StateComment] = Field(description="the public comments, oldest first")


class StateAdjudication(BaseModel):
    """The last adjudication of a student."""

    student_id: Id = Field(description="the student")
    outcome: str = Field(description="`kept`, `waiting`, `agreed`, `needs_third_mark` or `needs_moderator`")
    score: float | None = Field(description="the agreed score in points; null without agreement")
    failed: list[str] = Field(
        description="the comparisons that failed: `within_points`, `within_percent`, `boundaries`, which also fails "
        "if, without points, marks with the same score have different letters or words"
    )
    missing: Annotated[int, Field(ge=0)] = Field(description="number of marks that were still needed")
    version: Annotated[int, Field(ge=1)] = Field(description="version of the assignment at the adjudication")
    stale: bool = Field(description="whether marks or settings that it depends on have changed since")


class StateSchedule(BaseModel):
    """A scheduled publication, until the next schedule, cancel or publication."""

    publish_at: Moment = Field(description="time of the publication")
    user_id: Id = Field(description="the user for whom the service publishes")
    plan_digest: str | None = Field(description="digest of the only plan that may be published; null: any plan")
    would_publish: bool = Field(description="whether a publication by that user would be accepted now")
    reason: str | None = Field(description="reason for which it would be refused now, or was refused")
    refused_with: str | None = Field(description="reason of the refusal at the scheduled time; there is no retry")


class StateAllocatedStudent(BaseModel):
    student_id: Id = Field(description="the student who is marked")
    grader_ids: list[Id] = Field(description="the student's graders")


class StateAllocation(BaseModel):
    enforced: bool = Field(description="whether other graders are refused")
    graders: list[GraderProgress[Id]] = Field(description="by grader id")
    students: list[StateAllocatedStudent] = Field(description="by student id")


class AssignmentState(BaseModel):
    assignment_id: Id = Field(description="the assignment")
    course_id: Id = Field(description="its course")
    version: Annotated[int, Field(ge=1)] = Field(description="number of events of the assignment up to this state")
    settings: dict[str, Any] = Field(description="all fields of `configure_assignment`, with defaults")
    grades_published_at: Moment | None = Field(description="time of the publication; null: not published")
    scheduled_publication: StateSchedule | None = Field(description="the schedule; null: none")
    moderation_set: list[Member] = Field(description="students of the moderation set, by student id")
    moderation_graders: list[ModerationGrader] = Field(description="graders with an anonymous id, by user id")
    allocation: StateAllocation = Field(description="which grader marks which student")
    provisional_grades: list[StateGrade] = Field(description="all provisional grades, by id")
    adjudications: list[StateAdjudication] = Field(description="last adjudication of each student, by student id")
    submissions: list[StateSubmission] = Field(description="a submission for each student, by student id")
