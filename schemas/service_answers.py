"""Response bodies of the HTTP API that Canvas does not have: verdicts, explanations, audit trail (contract section 6).

Ids are as in ``schemas.canvas``; times are RFC 3339 in UTC, in milliseconds.
"""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from schemas.adjudication import AdjudicationPolicy
from schemas.canvas.values import AnonymousId, Id, Moment
from schemas.domain_events import DomainEvent, EventName
from schemas.fields import UUID_PATTERN
from schemas.verdicts import Verdict


class AdjudicationPolicyAnswer(BaseModel):
    assignment_id: Id = Field(description="the assignment")
    adjudication: AdjudicationPolicy | None = Field(description="the policy in force; null: none")


class ExplanationPerson(BaseModel):
    """``anonymous_grader_id`` replaces ``user_id`` if graders are hidden."""

    user_id: Id | None = Field(default=None, description="the user; left out if graders are hidden")
    anonymous_grader_id: AnonymousId | None = Field(
        default=None, description="anonymous id of the grader, if graders are hidden; null for a user without a slot"
    )


class ExplanationRecord(BaseModel):
    """A record on ``live-events``."""

    shard: Annotated[int, Field(ge=0)] = Field(description="its partition")
    sequence: Annotated[int, Field(ge=1)] = Field(description="its ce_sequence")
    ce_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="its ce_id, a UUID")


class ExplanationEntry(BaseModel):
    """An event about the grade."""

    event_type: EventName = Field(description="name of the event")
    version: Annotated[int, Field(ge=1)] = Field(description="version of the assignment's stream")
    at: Moment = Field(description="when it was decided")
    actor: ExplanationPerson | None = Field(description="the user who acted, null for the LMS")
    details: dict[str, Any] = Field(description="values of the event; changed values as pairs of old and new")
    record: ExplanationRecord | None = Field(description="the grade_change that announced it")


class Explanation(BaseModel):
    """How a student's grade came about. ``anonymous_id`` replaces ``student_id`` while students are hidden."""

    assignment_id: Id = Field(description="the assignment")
    student_id: Id | None = Field(default=None, description="the student; left out while students are hidden")
    anonymous_id: AnonymousId | None = Field(
        default=None, description="anonymous id of the submission, while students are hidden"
    )
    score: float | None = Field(description="the gradebook's score in points; null: none")
    grade: str | None = Field(description="the gradebook's grade as text; null: none")
    excused: bool = Field(description="whether the student is excused")
    selected_provisional_grade_id: Id | None = Field(description="the provisional grade that is selected; null: none")
    sentence: str = Field(description="the last change of the grade, and its origin")
    trail: list[ExplanationEntry] = Field(description="by version")


class CommandVerdict(Verdict):
    """A verdict over HTTP: the ids of its result are strings for a client that asks for such."""

    result: Any = Field(description="the same as in the response to the write; null for facts and if rejected")


class AuditEvent(DomainEvent):
    """A domain event with its id and name."""

    id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the record's ce_id, a UUID")
    event_type: EventName = Field(description="name of the event")
