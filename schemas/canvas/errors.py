"""Errors, and the answer to a request whose verdict did not arrive in time."""

from typing import Annotated

from pydantic import BaseModel, Field

from schemas.fields import UUID_PATTERN


class Message(BaseModel):
    message: str


class GradingError(BaseModel):
    error: str


class ErrorLine(BaseModel):
    message: str


class Errors(BaseModel):
    """``status`` names the refusal if Canvas does so."""

    status: str | None = None
    errors: list[ErrorLine]


class Pending(BaseModel):
    """No verdict yet: request ``Location`` later."""

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)]
    status: Annotated[str, Field(pattern="^pending$")]
