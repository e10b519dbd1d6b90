"""Published verdicts (contract section 4): one for each command record with a readable command id."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from schemas.adjudication import AdjudicationPolicy
from schemas.fields import UUID_PATTERN, IdText, TimeText
from schemas.moderation_results import (
    Adjudication,
    Allocation,
    PublicationPlan,
    RevisionResult,
    Sample,
    ScheduleResult,
    SlotResult,
)
from schemas.reasons import ACCEPTED_STATUS, REASONS, Reason, describe_reasons
from schemas.strict import Strict


class FieldError(Strict):
    """``path`` such as ``data.users[3].name``; empty if the error concerns the whole command."""

    path: str
    message: str


SECONDS_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
Second = Annotated[str, Field(pattern=SECONDS_PATTERN)]
Points = Annotated[float, Field(allow_inf_nan=False)]


class ProvisionalGradeResult(Strict):
    """Canvas's ProvisionalGrade, without the fields that depend on the viewer."""

    provisional_grade_id: IdText
    score: Points | None
    entered_score: Points | None
    grade: str | None
    entered_grade: str | None
    graded_at: Second | None
    graded_anonymously: bool | None
    final: bool
    grade_matches_current_submission: bool
    scorer_id: IdText


class SelectionResult(Strict):
    """A selection; ``anonymous_id`` replaces ``student_id`` if students are anonymous to the actor."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["student_id"]}, {"required": ["anonymous_id"]}]}
    )

    assignment_id: IdText
    student_id: IdText | SkipJsonSchema[None] = None
    anonymous_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")] | SkipJsonSchema[None] = None
    selected_provisional_grade_id: IdText


class StudentResult(Strict):
    """A requested student who is in the moderation set now."""

    id: IdText


class PolicyResult(Strict):
    """The adjudication policy in force."""

    assignment_id: IdText
    adjudication: AdjudicationPolicy | None


class MessageResult(Strict):
    """Canvas's message after a publication."""

    message: Literal["OK"]


Result = (
    ProvisionalGradeResult
    | SelectionResult
    | MessageResult
    | PublicationPlan[IdText]
    | ScheduleResult[IdText]
    | Adjudication[IdText]
    | PolicyResult
    | RevisionResult[IdText]
    | SlotResult[IdText]
    | Sample[IdText]
    | Allocation[IdText]
    | list[SelectionResult]
    | list[StudentResult]
    | None
)


def _object_with(*keys: str) -> dict[str, Any]:
    """Build the schema of a result that is identified by its own keys."""
    return {"type": "object", "required": list(keys)}


_RESULT_SCHEMAS: dict[str, dict[str, Any]] = {
    "record_provisional_grade": _object_with("provisional_grade_id"),
    "record_provisional_comment": _object_with("provisional_grade_id"),
    "select_provisional_grade": _object_with("selected_provisional_grade_id"),
    "bulk_select_provisional_grades": {"type": "array", "items": _object_with("selected_provisional_grade_id")},
    "select_students_for_moderation": {"type": "array", "items": _object_with("id")},
    "publish_provisional_grades": _object_with("message"),
    "plan_publication": _object_with("digest"),
    **dict.fromkeys(("schedule_publication", "cancel_scheduled_publication"), _object_with("schedule_id")),
    "set_adjudication_policy": _object_with("adjudication"),
    **dict.fromkeys(("revise_published_grade", "withdraw_published_grade"), _object_with("excused")),
    "release_grader_slot": _object_with("grader_id"),
    "draw_moderation_sample": _object_with("sample_size"),
    "allocate_submissions": _object_with("enforced"),
    "adjudicate_provisional_grades": _object_with("counts", "students"),
}
"""The result of an accepted moderation command, by type; facts have no result."""
_NULL = {"type": "null"}


def _rules() -> list[Any]:
    """Express in JSON Schema what the validator of :class:`Verdict` checks between fields."""
    accepted = {"properties": {"status": {"const": "accepted"}}}
    no_rejection = {"reason": _NULL, "error_code": _NULL, "message": _NULL, "http_status": {"const": ACCEPTED_STATUS}}
    rejection = {
        "reason": {"type": "string"}, "message": {"type": "string"}, "events": {"const": 0}, "result": _NULL
    }  # fmt: skip
    rules: list[Any] = [{"if": accepted, "then": {"properties": no_rejection}, "else": {"properties": rejection}}]
    for command_type, result in _RESULT_SCHEMAS.items():
        accepted_of_type = {"properties": {"status": {"const": "accepted"}, "type": {"const": command_type}}}
        rules.append({"if": accepted_of_type, "then": {"properties": {"result": result}}})
    is_moderation_command = {"properties": {"type": {"enum": list(_RESULT_SCHEMAS)}}}
    rules.append({"if": is_moderation_command, "else": {"properties": {"result": _NULL}}})
    reasons_by_status: dict[int, list[str]] = {}
    for reason, info in REASONS.items():
        reasons_by_status.setdefault(info.http_status, []).append(reason)
    rules += [
        {
            "if": {"properties": {"reason": {"enum": reasons}}},
            "then": {"properties": {"http_status": {"const": status}}},
        }
        for status, reasons in reasons_by_status.items()
    ]
    return rules


class Verdict(Strict):
    """The outcome of a command.

    ``stream_version`` is the version of the assignment's stream, or of the course's for course facts; null if neither
    is known. ``result`` is the response of the Canvas API; null for facts and refusals.
    """

    model_config = ConfigDict(json_schema_extra={"allOf": _rules()})

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)]
    root_account_id: IdText | None
    type: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")] | None
    status: Literal["accepted", "rejected"]
    reason: Reason | None = Field(description=describe_reasons())
    error_code: str | None
    message: str | None
    http_status: int
    errors: list[FieldError]
    course_id: IdText | None
    assignment_id: IdText | None
    stream_version: Annotated[int, Field(ge=0)] | None
    events: Annotated[int, Field(ge=0)]
    result: Result
    decided_at: TimeText
    duplicate: bool
    correlation_id: str | None

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        """Check that a refusal has a reason with its status and a message, and no result."""
        if self.status == "accepted":
            if (self.reason, self.error_code, self.message, self.http_status) != (None, None, None, ACCEPTED_STATUS):
                raise ValueError("an accepted command has status 200 and nothing to refuse")
            return self
        if self.reason is None or self.message is None:
            raise ValueError("a refusal has a reason and a message")
        if self.http_status != REASONS[self.reason].http_status:
            raise ValueError("a refusal has the status of its reason")
        if self.events or self.result is not None:
            raise ValueError("a refusal leaves no events and no result")
        return self
