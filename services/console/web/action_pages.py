"""Forms for what operators do: each shows its effect, asks why, and does it once."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID, uuid4

from aiokafka.errors import KafkaError
from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import RedirectResponse, Response

from services.console.operator_service import REASON_CHARACTERS_MAX, Actor, NoReason
from services.console.redriver import LETTER_BYTES_MAX
from services.console.topic_jobs import GOES_ON_FOR
from services.console.web.dependencies import ConsoleParts, Operator, Parts, Viewer, letter_of, moment_of
from services.console.web.failure_pages import found, partition_of
from services.console.web.metrics import METRICS
from services.console.web.sessions import Forbidden, Person
from services.console.web.templates import day
from services.eventlog.dead_letters import Failures, Selection
from services.eventlog.operator_actions import AlreadyActed, AlreadySettled, action_of, actions

router = APIRouter()
ROWS_MAX = 50
# Long enough for a few records: whoever redrives one sees that it has been.
SEEN_TO_END_SECONDS = 2.0
KINDS = ("redrive", "discard", "reveal")

TOO_LARGE = (
    "With a redrive's mark it would be larger than a record of the commands topic may be. Nothing was done: it stays"
    " open until somebody discards it."
)
NOT_OPEN = (
    "Nothing of this is open: it has been redriven or discarded, see Actions, or it is too large to carry a redrive's"
    " mark. Nothing was done."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a form is about: one ``letter``, or the open ones of a ``reason`` or ``partition`` up to a time."""

    letter: str = ""
    reason: str = ""
    partition: str = ""
    until: str = ""

    def selection(self) -> Selection:
        """Raises HTTPException where it says nothing."""
        if self.letter:
            return Selection(letter=letter_of(self.letter))
        if not self.reason and not self.partition:
            raise HTTPException(400, "say which dead letters: letter, reason or partition")
        until: datetime | None = moment_of(self.until) if self.until else None
        return Selection(reason=self.reason or None, partition=partition_of(self.partition), until=until)

    def query(self) -> str:
        """As it stands in a link."""
        return urlencode({name: getattr(self, name) for name in self.__slots__ if getattr(self, name)})


async def asked_for(letter: str = "", reason: str = "", partition: str = "") -> Asked:
    """From a link."""
    return Asked(letter, reason, partition)


async def asked_in(
    letter: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    partition: Annotated[str, Form()] = "",
    until: Annotated[str, Form()] = "",
) -> Asked:
    """From a form."""
    return Asked(letter, reason, partition, until)


@router.get("/act/{kind}")
async def form(
    request: Request, parts: ConsoleParts, person: Viewer, kind: str, asked: Annotated[Asked, Depends(asked_for)]
) -> Response:
    """What would be done, and to how many; asks why."""
    _check(person, kind, asked)
    return await _form(request, parts, kind, asked, uuid4(), "", None)


async def _form(
    request: Request, parts: Parts, kind: str, asked: Asked, action: UUID, why: str, problem: str | None
) -> Response:
    letter = await found(parts, asked.letter) if asked.letter else None
    bytes_max = LETTER_BYTES_MAX if kind == "redrive" else None
    chosen = await Failures(parts.pool).selected(asked.selection(), bytes_max)
    if kind != "reveal" and not chosen.count:
        raise HTTPException(409, TOO_LARGE if chosen.left_out else NOT_OPEN)
    return parts.rendering.page(
        request,
        "act.html",
        400 if problem else 200,
        kind=kind,
        asked=asked,
        letter=letter,
        chosen=chosen,
        until="" if asked.letter or chosen.until is None else day(chosen.until),
        action=action,
        why=why,
        why_max=REASON_CHARACTERS_MAX,
        problem=problem,
    )


@router.post("/act/{kind}")
async def act(
    request: Request,
    parts: ConsoleParts,
    person: Operator,
    kind: str,
    asked: Annotated[Asked, Depends(asked_in)],
    action: Annotated[UUID, Form()],
    why: Annotated[str, Form()] = "",
) -> Response:
    """Do it, unless this very form has done it already; then show what was done."""
    _check(person, kind, asked)
    actor, selection = Actor(person.root_account_id, person.user_id), asked.selection()
    try:
        if kind == "redrive":
            await parts.actions.redrive(action, actor, why, selection)
            parts.redriver.wake()
            await parts.redriver.finished(action, SEEN_TO_END_SECONDS)
        elif kind == "discard":
            await parts.actions.discard(action, actor, why, selection)
        else:
            await parts.actions.reveal(action, actor, why, letter_of(asked.letter))
    except NoReason:
        return await _form(request, parts, kind, asked, action, why, "Say why, in 1 to 1,000 characters")
    except AlreadyActed:
        pass
    except AlreadySettled:
        raise HTTPException(409, NOT_OPEN) from None
    except (KafkaError, TimeoutError) as error:
        raise HTTPException(503, f"Kafka does not answer ({type(error).__name__}). Nothing was done.") from None
    else:
        METRICS.actions.labels(kind).inc()
    if kind == "reveal":
        return RedirectResponse(f"/failures/dead-letters/{asked.letter}?revealed={action}#content", 303)
    return RedirectResponse(f"/actions/{action}", 303)


def _check(person: Person, kind: str, asked: Asked) -> None:
    if kind not in KINDS or (kind == "reveal" and not asked.letter):
        raise HTTPException(404)
    if not person.operates:
        raise Forbidden("This takes a token with scope moderation.operator. Nothing was done.")
    if kind == "discard" and not asked.letter and not person.administers:
        raise Forbidden("Discarding a group unseen takes a token with scope moderation.admin. Nothing was done.")


@router.get("/actions")
async def page(request: Request, parts: ConsoleParts, person: Viewer, before: str = "") -> Response:
    """What operators did, newest first."""
    at, _, last_id = before.partition("~")
    rows = await actions(parts.pool, (moment_of(at), _uuid(last_id)) if before else None, ROWS_MAX + 1)
    last = rows[ROWS_MAX - 1] if len(rows) > ROWS_MAX else None
    return parts.rendering.page(
        request,
        "actions.html",
        actions=[(row, json.loads(row.detail)) for row in rows[:ROWS_MAX]],
        next_before=None if last is None or last.acted_at is None else f"{day(last.acted_at)}~{last.id}",
    )


@router.get("/actions/{action_id}")
async def one(request: Request, parts: ConsoleParts, person: Viewer, action_id: UUID, before: str = "") -> Response:
    """One action, and what became of each dead letter."""
    action = await action_of(parts.pool, action_id)
    if action is None:
        raise HTTPException(404)
    at, _, last_id = before.partition("~")
    failures = Failures(parts.pool)
    letters = await failures.dead_letters(
        ROWS_MAX + 1, action=action_id, before=(moment_of(at), *letter_of(last_id)) if before else None
    )
    last = letters[ROWS_MAX - 1] if len(letters) > ROWS_MAX else None
    return parts.rendering.page(
        request,
        "action.html",
        action=action,
        detail=json.loads(action.detail),
        letters=letters[:ROWS_MAX],
        problem=parts.redriver.problem,
        replay=parts.replays.under_way.get(action_id),
        goes_on=action.acted_at is not None and datetime.now(UTC) - action.acted_at < GOES_ON_FOR,
        next_before=None if last is None else f"{day(last.recorded_at)}~{last.shard}-{last.number}",
    )


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise HTTPException(400, "before is of another page") from None
