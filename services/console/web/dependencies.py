"""What the pages work with, and who may see them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from services.config import ConsoleSettings
from services.console.operator_service import Actions
from services.console.redriver import Redriver
from services.console.status_monitor import Watch
from services.console.topic_jobs import Checks, Replays
from services.console.web.sessions import Forbidden, Person, Sessions, check_form
from services.console.web.templates import Rendering
from services.eventlog.postgres import Pool
from services.runtime.health import Health


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one console process."""

    settings: ConsoleSettings
    health: Health
    sessions: Sessions
    rendering: Rendering
    pool: Pool
    watch: Watch
    actions: Actions
    redriver: Redriver
    checks: Checks
    replays: Replays


def parts_of(request: Request) -> Parts:
    """The parts of the process that answers the request."""
    parts: Parts = request.app.state.parts
    return parts


ConsoleParts = Annotated[Parts, Depends(parts_of)]


async def person_of(request: Request, parts: ConsoleParts) -> Person:
    """Who asks. Raises NotSignedIn."""
    person = await parts.sessions.person(request)
    request.state.person = person
    return person


Viewer = Annotated[Person, Depends(person_of)]


async def operator_of(request: Request, person: Viewer) -> Person:
    """Who acts, with a form of ours. Raises NotSignedIn, Forbidden."""
    if not person.operates:
        raise Forbidden("This takes a token with scope moderation.operator. Nothing was done.")
    form = await request.form()
    check_form(person, request, str(form.get("csrf", "")))
    return person


Operator = Annotated[Person, Depends(operator_of)]


_LETTER = re.compile(r"(\d{1,4})-(\d{1,18})")


def letter_of(text: str) -> tuple[int, int]:
    """(shard, number) of a dead letter or a verdict in a path. Raises HTTPException."""
    match = _LETTER.fullmatch(text)
    if match is None:
        raise HTTPException(404)
    return int(match[1]), int(match[2])


def moment_of(text: str) -> datetime:
    """A time in a link of ours. Raises HTTPException."""
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
        at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = datetime.min
    if at.tzinfo is None:
        raise HTTPException(400, "send times as they stand in our links, in ISO 8601 with an offset")
    return at
