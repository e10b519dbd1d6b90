"""Verdicts as they leave (contract section 4): one for each command record whose command id can be read."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.commands import Strict
from schemas.fields import UUID_PATTERN, IdText, TimeText

Reason = Literal[
    "invalid_command",
    "unsupported_version",
    "unauthenticated",
    "unauthorized",
    "not_found",
    "not_moderated",
    "already_published",
    "not_in_moderation_set",
    "missing_student_ids",
    "selection_required",
    "max_graders_reached",
    "invalid_score",
    "modify_selected",
    "final_without_provisional",
    "grade_and_excuse",
    "student_not_enrolled",
    "command_id_reused",
    "not_published",
    "moderation_locked",
]
STATUS_ACCEPTED = 200
STATUS_OF_REASON: dict[Reason, int] = {
    "unauthenticated": 401,
    "unauthorized": 403,
    "max_graders_reached": 403,
    "not_found": 404,
    "command_id_reused": 409,
    "selection_required": 422,
}
STATUS_OTHERWISE = 400
"""Of every reason that ``STATUS_OF_REASON`` does not name."""


class FieldError(Strict):
    """``path`` such as ``data.users[3].name``; empty where the whole command is at fault."""

    path: str
    message: str


class Verdict(Strict):
    """``stream_version``: of the assignment's stream, of the course's for course facts, null where neither is known."""

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)]
    root_account_id: IdText | None
    type: str | None
    status: Literal["accepted", "rejected"]
    reason: Reason | None
    error_code: str | None
    message: str | None
    http_status: int
    errors: list[FieldError]
    course_id: IdText | None
    assignment_id: IdText | None
    stream_version: Annotated[int, Field(ge=0)] | None
    events: Annotated[int, Field(ge=0)]
    result: Any
    decided_at: TimeText
    duplicate: bool
    correlation_id: str | None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        """A refusal has a reason with its status and a message, and leaves nothing but itself."""
        if self.status == "accepted":
            if (self.reason, self.error_code, self.message, self.http_status) != (None, None, None, STATUS_ACCEPTED):
                raise ValueError("an accepted command has status 200 and nothing to refuse")
            return self
        if self.reason is None or self.message is None:
            raise ValueError("a refusal has a reason and a message")
        if self.http_status != STATUS_OF_REASON.get(self.reason, STATUS_OTHERWISE):
            raise ValueError("a refusal has the status of its reason")
        if self.events or self.result is not None:
            raise ValueError("a refusal leaves no events and no result")
        return self
