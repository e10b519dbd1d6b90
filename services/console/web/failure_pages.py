"""Pages about failures: dead letters by cause and one by one, refusals by cause."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import Response

from services.commands.parse import parse
from services.commands.parse_errors import UnreadableRecord
from services.console.masking import decode_for_display, mask, mask_key
from services.console.redriver import ACTION_HEADER, DEAD_LETTER_HEADER, decode_headers
from services.console.web.dependencies import (
    ConsoleDependencies,
    Dependencies,
    Operator,
    Viewer,
    parse_shard_and_number,
    parse_time,
)
from services.console.web.exported_tables import DEAD_LETTER_CAUSES, DEAD_LETTERS, REFUSAL_CAUSES, REFUSALS
from services.console.web.signed_in_user import SignedInUser
from services.console.web.templates import escape_invisible, format_iso_time
from services.eventlog.dead_letters import DeadLetter, DeadLetterReader
from services.eventlog.operator_actions import get_action

router = APIRouter(prefix="/failures")
ROWS_MAX = 50
REVEAL_WINDOW = timedelta(minutes=10)
STATES = ("open", "closed", "all")
# These headers never carry personal data.
UNMASKED_HEADERS = (ACTION_HEADER, DEAD_LETTER_HEADER, "traceparent", "content-type")


@router.get("")
async def failures_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    csv: Literal["", "dead-letter-causes", "refusal-causes"] = "",
) -> Response:
    """Show all failures by cause."""
    groups = await DeadLetterReader(dependencies.pool).groups()
    causes = dependencies.monitor.verdict_stats.groups_by_size()
    if csv:
        return DEAD_LETTER_CAUSES.respond(groups) if csv == DEAD_LETTER_CAUSES.name else REFUSAL_CAUSES.respond(causes)
    by_partition = sorted({partition for group in groups for partition in group.partitions})
    return dependencies.templates.render_page(
        request, "failures.html", groups=groups, causes=causes, by_partition=by_partition
    )


@router.get("/dead-letters")
async def dead_letters_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    reason: str = "",
    partition: str = "",
    state: str = "open",
    before: str = "",
    csv: Literal["", "dead-letters"] = "",
) -> Response:
    """List dead letters, newest first, in pages."""
    partition_number = parse_partition(partition)
    if state not in STATES:
        raise HTTPException(400, "The state must be open, closed or all.")
    is_open = None if state == "all" else state == "open"
    failures = DeadLetterReader(dependencies.pool)
    letters = await failures.dead_letters(
        ROWS_MAX + 1, reason=reason or None, partition=partition_number, is_open=is_open, before=_parse_cursor(before)
    )
    shown, last = letters[:ROWS_MAX], letters[ROWS_MAX - 1] if len(letters) > ROWS_MAX else None
    if csv:
        return DEAD_LETTERS.respond(shown)
    groups = await failures.groups()
    newest = await failures.dead_letter(shown[0].shard, shown[0].number) if shown and user.can_operate else None
    return dependencies.templates.render_page(
        request,
        "dead_letters.html",
        letters=shown,
        is_newest_unreadable=newest is not None and isinstance(parse(newest.value), UnreadableRecord),
        reasons=sorted({group.reason for group in groups} | ({reason} if reason else set())),
        reason=reason,
        partition=partition,
        state=state,
        states=STATES,
        next_before=None if last is None else f"{format_iso_time(last.recorded_at)}~{last.shard}-{last.number}",
    )


@router.get("/dead-letters/{letter_id}")
async def dead_letter_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    letter_id: str,
    revealed: Annotated[UUID | None, Query()] = None,
) -> Response:
    """Show one dead letter: position, cause, masked content, and its outcome."""
    letter = await load_dead_letter(dependencies, letter_id)
    return await _render_dead_letter(request, dependencies, user, letter, revealed)


@router.post("/dead-letters/{letter_id}/dry-run")
async def dry_run_page(request: Request, dependencies: ConsoleDependencies, user: Operator, letter_id: str) -> Response:
    """Show what a redrive would do now. Writes nothing."""
    letter = await load_dead_letter(dependencies, letter_id)
    dry_run_result = await dependencies.operator_service.dry_run(letter)
    return await _render_dead_letter(request, dependencies, user, letter, None, dry_run_result=dry_run_result)


@router.get("/rejections")
async def rejections_page(
    request: Request,
    dependencies: ConsoleDependencies,
    user: Viewer,
    reason: str,
    type: str = "",
    page: int = 1,
    csv: Literal["", "refusals"] = "",
) -> Response:
    """List the latest refusals of one cause."""
    group = dependencies.monitor.verdict_stats.rejection_groups.get((type or None, reason))
    latest_verdicts = (
        [] if group is None else sorted(group.latest_verdicts, key=lambda v: (v.at, v.shard, v.number), reverse=True)
    )
    first_row = (max(page, 1) - 1) * ROWS_MAX
    shown = latest_verdicts[first_row : first_row + ROWS_MAX]
    if csv:
        return REFUSALS.respond(shown)
    return dependencies.templates.render_page(
        request,
        "rejections.html",
        group=group,
        type=type or None,
        reason=reason,
        verdicts=shown,
        next_page=page + 1 if len(latest_verdicts) > first_row + ROWS_MAX else None,
        listed=len(latest_verdicts),
    )


async def load_dead_letter(dependencies: Dependencies, letter_id: str) -> DeadLetter:
    """Load the dead letter of a path. Raises HTTPException."""
    letter = await DeadLetterReader(dependencies.pool).dead_letter(*parse_shard_and_number(letter_id))
    if letter is None:
        raise HTTPException(404)
    return letter


async def _render_dead_letter(
    request: Request,
    dependencies: Dependencies,
    user: SignedInUser,
    letter: DeadLetter,
    revealed: UUID | None,
    dry_run_result: object = None,
) -> Response:
    parsed = parse(letter.value)
    content = await _load_revealed_content(dependencies, user, letter, revealed)
    outcome = None
    if letter.redriven_partition is not None and letter.redriven_offset is not None:
        redriven_record = (letter.redriven_partition, letter.redriven_offset)
        outcome = await DeadLetterReader(dependencies.pool).redrive_outcome(
            dependencies.operator_service.commands_topic, *redriven_record
        )
    headers = [
        (
            escape_invisible(name),
            escape_invisible(decode_for_display(value)) if name in UNMASKED_HEADERS else mask(value, 200),
        )
        for name, value in decode_headers(letter.headers or b"[]")
    ]
    return dependencies.templates.render_page(
        request,
        "dead_letter.html",
        letter=letter,
        appended_at=datetime.fromtimestamp(letter.append_time / 1_000, UTC),
        key=mask_key(letter.key),
        headers=headers,
        masked_value=escape_invisible(mask(letter.value)),
        content=None if content is None else escape_invisible(content),
        unreadable=parsed if isinstance(parsed, UnreadableRecord) else None,
        outcome=outcome,
        dry_run_result=dry_run_result,
    )


async def _load_revealed_content(
    dependencies: Dependencies, user: SignedInUser, letter: DeadLetter, revealed: UUID | None
) -> str | None:
    """Return the content for the user who has just recorded a reveal of this dead letter, else None."""
    action = None if revealed is None else await get_action(dependencies.pool, revealed)
    if action is None or action.acted_at is None or action.kind != "reveal":
        return None
    is_theirs = (action.root_account, action.user_id) == (user.root_account_id, user.user_id)
    is_for_this_letter = f'"{letter.shard}-{letter.number}"' in action.detail
    is_recent = datetime.now(UTC) - action.acted_at < REVEAL_WINDOW
    return (
        decode_for_display(letter.value)
        if is_theirs and is_for_this_letter and is_recent and user.can_operate
        else None
    )


def parse_partition(text: str) -> int | None:
    """Parse the partition in a link or form, None if it is empty. Raises HTTPException."""
    if not text:
        return None
    if not text.isdecimal() or len(text) > 9:
        raise HTTPException(400, "The partition must be a number. Nothing was changed.")
    return int(text)


def _parse_cursor(text: str) -> tuple[datetime, int, int] | None:
    if not text:
        return None
    at, _, letter = text.partition("~")
    return (parse_time(at), *parse_shard_and_number(letter))
