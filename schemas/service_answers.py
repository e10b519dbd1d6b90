"""Response bodies of the HTTP API that Canvas does not have: states, explanations, audit trail (contract section 6).

Ids are as in ``schemas.canvas``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from schemas.adjudication import AdjudicationPolicy
from schemas.canvas.values import AnonymousId, Id, Moment
from schemas.domain_events import DomainEvent, EventName
from schemas.event_payloads.values import LatePolicyStatus
from schemas.fields import UUID_PATTERN
from schemas.moderation_results import GraderProgress
from schemas.verdicts import Verdict


class Member(BaseModel):
    student_id: Id
    selected_provisional_grade_id: Id | None
    sample_reasons: list[Literal["drawn", "failing", "borderline"]] = Field(
        description="why a drawn sample includes the student; empty for other students"
    )


class ModerationGrader(BaseModel):
    user_id: Id
    anonymous_id: AnonymousId
    slot_taken: bool


class StateComment(BaseModel):
    author_id: Id
    comment: str | None
    created_at: Moment


class StateGrade(BaseModel):
    provisional_grade_id: Id
    student_id: Id
    scorer_id: Id
    score: float | None
    grade: str | None
    graded_at: Moment | None
    final: bool
    graded_anonymously: bool | None
    submission_comments: list[StateComment]


class StateSubmission(BaseModel):
    student_id: Id
    submission_id: Id
    anonymous_id: AnonymousId
    workflow_state: str
    attempt: int | None
    submitted_at: Moment | None
    score: float | None
    grade: str | None
    grader_id: Id | None
    graded_at: Moment | None
    excused: bool
    posted_at: Moment | None
    grade_matches_current_submission: bool
    graded_anonymously: bool | None
    updated_at: Moment | None
    seconds_late: Annotated[int, Field(ge=0)] | None
    late_policy_status: LatePolicyStatus | None
    entered_score: float | None
    entered_grade: str | None
    points_deducted: float | None
    submission_comments: list[StateComment]


class AdjudicationPolicyAnswer(BaseModel):
    assignment_id: Id
    adjudication: AdjudicationPolicy | None


class ExplanationPerson(BaseModel):
    """``anonymous_grader_id`` replaces ``user_id`` if graders are hidden; null for a user without a slot."""

    user_id: Id | None = None
    anonymous_grader_id: AnonymousId | None = None


class ExplanationRecord(BaseModel):
    """A record on ``live-events``."""

    shard: Annotated[int, Field(ge=0)] = Field(description="its partition")
    sequence: Annotated[int, Field(ge=1)] = Field(description="its ce_sequence")
    ce_id: Annotated[str, Field(pattern=UUID_PATTERN)]


class ExplanationEntry(BaseModel):
    """An event about the grade."""

    event_type: EventName
    version: Annotated[int, Field(ge=1)] = Field(description="version of the assignment's stream")
    at: Moment
    actor: ExplanationPerson | None = Field(description="the user who acted, null for the LMS")
    details: dict[str, Any] = Field(description="values of the event; changed values as pairs of old and new")
    record: ExplanationRecord | None = Field(description="the grade_change that announced it")


class Explanation(BaseModel):
    """How a student's grade came about. ``anonymous_id`` replaces ``student_id`` while students are hidden."""

    assignment_id: Id
    student_id: Id | None = None
    anonymous_id: AnonymousId | None = None
    score: float | None
    grade: str | None
    excused: bool
    selected_provisional_grade_id: Id | None
    sentence: str = Field(description="the last change of the grade, and its origin")
    trail: list[ExplanationEntry] = Field(description="by version")


class StateAdjudication(BaseModel):
    """The last adjudication of a student; ``stale``: marks or settings that it depends on have changed since."""

    student_id: Id
    outcome: str
    score: float | None
    failed: list[str]
    missing: Annotated[int, Field(ge=0)]
    version: Annotated[int, Field(ge=1)]
    stale: bool


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
    assignment_id: Id
    course_id: Id
    version: Annotated[int, Field(ge=1)]
    settings: dict[str, Any]
    grades_published_at: Moment | None
    scheduled_publication: StateSchedule | None
    moderation_set: list[Member]
    moderation_graders: list[ModerationGrader]
    allocation: StateAllocation
    provisional_grades: list[StateGrade]
    adjudications: list[StateAdjudication]
    submissions: list[StateSubmission]


class CommandVerdict(Verdict):
    """A verdict over HTTP: the ids of its result are strings for a client that asks for such."""

    result: Any


class AuditEvent(DomainEvent):
    """A domain event with its id and name."""

    id: Annotated[str, Field(pattern=UUID_PATTERN)]
    event_type: EventName
