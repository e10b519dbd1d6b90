"""The reason for reading education records: an option of each command that shows them, recorded with the access."""

import sys
from typing import Annotated

import typer

from services.console.operator_service import REASON_CHARACTERS_MAX, InvalidReason, parse_reason

AccessReasonOption = Annotated[
    str | None,
    typer.Option(
        "--reason", envvar="ACCESS_REASON", help="Why you read it; recorded with your login. A terminal prompts for it."
    ),
]


def require_access_reason(reason: str | None) -> str:
    """Return the reason; prompt for it on a terminal. Raises typer.BadParameter without one."""
    if reason is None and sys.stdin.isatty():
        reason = str(typer.prompt("Reason", err=True))
    try:
        return parse_reason(reason or "")
    except InvalidReason:
        raise typer.BadParameter(
            f"a reason of 1 to {REASON_CHARACTERS_MAX} characters is required, without control characters; nothing was"
            " read: add --reason, or set ACCESS_REASON"
        ) from None
