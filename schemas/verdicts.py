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

    path: str = Field(description="where, such as `data.users[3].name`; empty: the whole command")
    message: str = Field(description="what is wrong and what to send")


SECONDS_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
Second = Annotated[str, Field(pattern=SECONDS_PATTERN)]
Points = Annotated[float, Field(allow_inf_nan=False)]


class ProvisionalGradeResult(Strict):
    """Canvas's ProvisionalGrade, without the fields that depend on the viewer."""

    provisional_grade_id: IdText = Field(description="its id, for a selection")
    score: Points | None = Field(description="in points, null without a score")
    entered_score: Points | None = Field(description="the same: no deduction before publication")
    grade: str | None = Field(description="as a text in the form of the grading type")
    entered_grade: str | None = Field(description="the same as grade")
    graded_at: Second | None = Field(description="when it was entered; null: only comments")
    graded_anonymously: bool | None = Field(description="as sent")
    final: bool = Field(description="whether it is the moderator's final grade")
    grade_matches_current_submission: bool = Field(description="whether the student has not resubmitted since")
    scorer_id: IdText = Field(description="the grader")


class SelectionResult(Strict):
    """A selection; ``anonymous_id`` replaces ``student_id`` if students are anonymous to the actor."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["student_id"]}, {"required": ["anonymous_id"]}]}
    )

    assignment_id: IdText = Field(description="the assignment")
    student_id: IdText | SkipJsonSchema[None] = Field(default=None, description="the student")
    anonymous_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z]+$")] | SkipJsonSchema[None] = Field(
        default=None, description="instead of student_id while students are hidden"
    )
    selected_provisional_grade_id: IdText = Field(description="the grade that is selected now")


class StudentResult(Strict):
    """A requested student who is in the moderation set now."""

    id: IdText = Field(description="the student")


class PolicyResult(Strict):
    """The adjudication policy in force."""

    assignment_id: IdText = Field(description="the assignment")
    adjudication: AdjudicationPolicy | None = Field(description="the policy, null for none")


class MessageResult(Strict):
    """Canvas's message after a publication."""

    message: Literal["OK"] = Field(description="Canvas's text")


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

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the command's")
    root_account_id: IdText | None = Field(description="the command's; null if it could not be read")
    type: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")] | None = Field(
        description="the command's; null if it could not be read"
    )
    status: Literal["accepted", "rejected"] = Field(
        description="accepted or rejected; a rejected command changed nothing"
    )
    reason: Reason | None = Field(description=describe_reasons())
    error_code: str | None = Field(description="Canvas's code, if it has one")
    message: str | None = Field(description="text for people, Canvas's own if it has one; null if accepted")
    http_status: int = Field(description="the status of the HTTP response to the same command")
    errors: list[FieldError] = Field(
        description="for invalid_command: each wrong field; for not_found: the id of what is missing, if known"
    )
    course_id: IdText | None = Field(description="the command's; null if it could not be read")
    assignment_id: IdText | None = Field(description="the command's, if it has one")
    stream_version: Annotated[int, Field(ge=0)] | None = Field(
        description="version of the assignment's stream after the decision; of the course's for facts about a course"
    )
    events: Annotated[int, Field(ge=0)] = Field(
        description="number of records that the command adds to moderation.events; 0: nothing changed"
    )
    result: Result = Field(description="what Canvas's API would answer; null for facts and if rejected")
    decided_at: TimeText = Field(description="when it was decided")
    duplicate: bool = Field(description="true: the command was decided before, and this repeats the first verdict")
    correlation_id: str | None = Field(description="the command's")

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
