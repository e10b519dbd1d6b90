"""Predicts whether a redrive would only make dead letters again: this version still cannot read the records."""

import asyncio
from dataclasses import dataclass

from services.commands.parse import parse
from services.commands.parse_errors import UnreadableRecord
from services.console.redriver import DEAD_LETTER_BYTES_MAX
from services.eventlog.dead_letters import DeadLetter, DeadLetterFilter, DeadLetterReader

CHECKED_MAX = 20
"""How many of a group are read, the newest ones: most of a group have one cause."""
CHECKED_BYTES_MAX = 2_000_000
"""Together; one is always read. A megabyte may take a second to read."""
_AFTER_ALL_OF_A_TIME = (2**15 - 1, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class RedriveCheck:
    """``unreadable_ids``: those of the ``checked_count`` dead letters that would be dead letters again, newest first.

    ``problem``: why the newest of them cannot be read; None if all can.
    """

    checked_count: int
    unreadable_ids: list[str]
    problem: str | None


async def check_redrive(reader: DeadLetterReader, selection: DeadLetterFilter) -> RedriveCheck:
    """Read the newest open dead letters of a selection as the handler would; erased and oversized ones are not sent."""
    checked_count, bytes_count, unreadable_ids, problems = 0, 0, [], []
    for shard, number in await _find_newest(reader, selection):
        letter = await reader.dead_letter(shard, number)
        if letter is None or letter.resolution is not None or letter.is_erased or _is_too_large(letter):
            continue
        bytes_count += len(letter.value or b"")
        if checked_count and bytes_count > CHECKED_BYTES_MAX:
            break
        checked_count += 1
        # In a thread: other pages are served meanwhile.
        parsed = await asyncio.to_thread(parse, letter.value)
        if isinstance(parsed, UnreadableRecord):
            unreadable_ids.append(f"{shard}-{number}")
            problems.append(parsed.message)
    return RedriveCheck(checked_count, unreadable_ids, problems[0] if problems else None)


async def _find_newest(reader: DeadLetterReader, selection: DeadLetterFilter) -> list[tuple[int, int]]:
    if selection.id is not None:
        return [selection.id]
    before = None if selection.until is None else (selection.until, *_AFTER_ALL_OF_A_TIME)
    letters = await reader.dead_letters(
        CHECKED_MAX, reason=selection.reason, partition=selection.partition, is_open=True, before=before
    )
    return [(letter.shard, letter.number) for letter in letters]


def _is_too_large(letter: DeadLetter) -> bool:
    return sum(len(part or b"") for part in (letter.key, letter.value, letter.headers)) > DEAD_LETTER_BYTES_MAX
