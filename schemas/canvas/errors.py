"""Errors, and the answer to a request whose verdict did not arrive in time."""

from typing import Annotated

from pydantic import BaseModel, Field

from schemas.fields import UUID_PATTERN


class Message(BaseModel):
    message: str = Field(description="the problem and the remedy, or Canvas's text")


class GradingError(BaseModel):
    error: str = Field(description="Canvas's text or class of the error")


class ErrorLine(BaseModel):
    message: str = Field(description="the problem, in Canvas's words if Canvas has any")


class Errors(BaseModel):
    status: str | None = Field(
        default=None, description="`unauthenticated` or `unauthorized`; left out where Canvas names no status"
    )
    errors: list[ErrorLine] = Field(description="the problems, at least one")


class Pending(BaseModel):
    """No verdict yet: request ``Location`` later."""

    command_id: Annotated[str, Field(pattern=UUID_PATTERN)] = Field(description="the command's UUID")
    status: Annotated[str, Field(pattern="^pending$")] = Field(description="always `pending`")
