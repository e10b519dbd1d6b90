"""What failed: dead letters by cause and one by one, refusals by cause."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from services.commands.parse import parse
from services.commands.parse_errors import Unreadable
from services.console.masking import masked, readable
from services.console.redriver import ACTION_HEADER, headers_of
from services.console.web.dependencies import ConsoleParts, Operator, Parts, Viewer, letter_of, moment_of
from services.console.web.sessions import Person
from services.console.web.templates import day, visible
from services.eventlog.dead_letters import DeadLetter, Failures
from services.eventlog.operator_actions import action_of

router = APIRouter(prefix="/failures")
ROWS_MAX = 50
REVEALED_FOR = timedelta(minutes=10)
STATES = ("open", "settled", "all")
# Headers that carry no content of anybody's.
PLAIN_HEADERS = (ACTION_HEADER, "redrive_dead_letter", "traceparent", "content-type")


@router.get("")
async def page(request: Request, parts: ConsoleParts, person: Viewer) -> Response:
    """Everything that failed, by cause."""
    groups = await Failures(parts.pool).groups()
    causes = parts.watch.tally.causes()
    by_partition = sorted({partition for group in groups for partition in group.partitions})
    return parts.rendering.page(request, "failures.html", groups=groups, causes=causes, by_partition=by_partition)


@router.get("/dead-letters")
async def dead_letters(
    request: Request,
    parts: ConsoleParts,
    person: Viewer,
    reason: str = "",
    partition: str = "",
    state: str = "open",
    before: str = "",
) -> Response:
    """Dead letters, newest first, a page at a time."""
    number = partition_of(partition)
    if state not in STATES:
        raise HTTPException(400, "state is open, settled or all")
    is_open = None if state == "all" else state == "open"
    failures = Failures(parts.pool)
    letters = await failures.dead_letters(
        ROWS_MAX + 1, reason=reason or None, partition=number, is_open=is_open, before=_before(before)
    )
    groups = await failures.groups()
    shown, last = letters[:ROWS_MAX], letters[ROWS_MAX - 1] if len(letters) > ROWS_MAX else None
    return parts.rendering.page(
        request,
        "dead_letters.html",
        letters=shown,
        reasons=sorted({group.reason for group in groups} | ({reason} if reason else set())),
        reason=reason,
        partition=partition,
        state=state,
        states=STATES,
        next_before=None if last is None else f"{day(last.recorded_at)}~{last.shard}-{last.number}",
    )


@router.get("/dead-letters/{letter_id}")
async def dead_letter(
    request: Request,
    parts: ConsoleParts,
    person: Viewer,
    letter_id: str,
    revealed: Annotated[UUID | None, Query()] = None,
) -> Response:
    """One dead letter: where it was, why it died, its shape, and what became of it."""
    letter = await found(parts, letter_id)
    return await _letter_page(request, parts, person, letter, revealed)


@router.post("/dead-letters/{letter_id}/dry-run")
async def dry_run(request: Request, parts: ConsoleParts, person: Operator, letter_id: str) -> Response:
    """What would come of it now. Nothing is written."""
    letter = await found(parts, letter_id)
    rehearsal = await parts.actions.dry_run(letter)
    return await _letter_page(request, parts, person, letter, None, rehearsal=rehearsal)


@router.get("/rejections")
async def rejections(
    request: Request, parts: ConsoleParts, person: Viewer, reason: str, type: str = "", page: int = 1
) -> Response:
    """The latest refusals of one cause."""
    group = parts.watch.tally.refusals.get((type or None, reason))
    latest = [] if group is None else sorted(group.latest, key=lambda v: (v.at, v.shard, v.number), reverse=True)
    first = (max(page, 1) - 1) * ROWS_MAX
    return parts.rendering.page(
        request,
        "rejections.html",
        group=group,
        type=type or None,
        reason=reason,
        verdicts=latest[first : first + ROWS_MAX],
        next_page=page + 1 if len(latest) > first + ROWS_MAX else None,
        listed=len(latest),
    )


async def found(parts: Parts, letter_id: str) -> DeadLetter:
    """The dead letter of a path. Raises HTTPException."""
    letter = await Failures(parts.pool).dead_letter(*letter_of(letter_id))
    if letter is None:
        raise HTTPException(404)
    return letter


async def _letter_page(
    request: Request, parts: Parts, person: Person, letter: DeadLetter, revealed: UUID | None, rehearsal: object = None
) -> Response:
    unreadable = parse(letter.value)
    content = await _revealed(parts, person, letter, revealed)
    outcome = None
    if letter.redriven_partition is not None and letter.redriven_offset is not None:
        place = (letter.redriven_partition, letter.redriven_offset)
        outcome = await Failures(parts.pool).outcome(parts.actions.commands, *place)
    headers = [
        (visible(name), visible(readable(value)) if name in PLAIN_HEADERS else masked(value, 200))
        for name, value in headers_of(letter.headers or b"[]")
    ]
    return parts.rendering.page(
        request,
        "dead_letter.html",
        letter=letter,
        appended_at=datetime.fromtimestamp(letter.append_time / 1_000, UTC),
        key=masked(letter.key, 200) if letter.key is None or not letter.key.isdigit() else readable(letter.key, 200),
        headers=headers,
        shape=visible(masked(letter.value)),
        content=None if content is None else visible(content),
        unreadable=unreadable if isinstance(unreadable, Unreadable) else None,
        outcome=outcome,
        rehearsal=rehearsal,
    )


async def _revealed(parts: Parts, person: Person, letter: DeadLetter, revealed: UUID | None) -> str | None:
    """The content, for whoever had a reason a moment ago: what they said is kept."""
    action = None if revealed is None else await action_of(parts.pool, revealed)
    if action is None or action.acted_at is None or action.kind != "reveal":
        return None
    is_theirs = (action.root_account, action.user_id) == (person.root_account_id, person.user_id)
    is_of_this = f'"{letter.shard}-{letter.number}"' in action.detail
    is_fresh = datetime.now(UTC) - action.acted_at < REVEALED_FOR
    return readable(letter.value) if is_theirs and is_of_this and is_fresh and person.operates else None


def partition_of(text: str) -> int | None:
    """The partition in a link or form, None where it names none. Raises HTTPException."""
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise HTTPException(400, "partition is a number")
    return int(text)


def _before(text: str) -> tuple[datetime, int, int] | None:
    if not text:
        return None
    at, _, letter = text.partition("~")
    return (moment_of(at), *letter_of(letter))
