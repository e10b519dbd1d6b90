"""Events as JSON lines into a file that can be gone on with: after a crash, and when more has happened.

Beside FILE stands FILE.resume: what was selected, how far each shard is written, and how long the file was then. Both
are brought to disk after every page, the file first, so that going on begins at a whole line.
"""

import fcntl
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from services.eventlog.feed_history import History, Selection
from services.eventlog.feeds import EventRow
from services.kafka.partitioning import SHARDS

PAGE = 2_000
OnProgress = Callable[[int, int], None]
"""Called with how many positions of the log have been looked at, and how many there are."""


class CannotGoOn(Exception):
    """The file holds something else, or cannot be written; the message says what, and the remedy."""


class Lines(Protocol):
    """Takes whole lines, after which the shards are written up to these positions."""

    def write(self, lines: bytes, positions: list[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class Exported:
    """``events``: written now; ``positions``: how far each shard is written."""

    events: int
    positions: list[int]


def line_of(event: EventRow) -> bytes:
    """One event: the value on the events topic, with its place, its id and its cause."""
    metadata = orjson.loads(event.metadata)
    about: dict[str, Any] = {"id": metadata["id"], "event_type": event.type, "shard": event.shard}
    about |= {"position": event.position, "live_number": event.live_number, "command_id": metadata["command_id"]}
    if "correlation_id" in metadata:
        about["correlation_id"] = metadata["correlation_id"]
    return orjson.dumps({**about, **orjson.loads(event.data)}, option=orjson.OPT_APPEND_NEWLINE)


async def export(
    history: History, selection: Selection, lines: Lines, begun: list[int], on_progress: OnProgress
) -> Exported:
    """Write what stands in the log now after the positions of ``begun``, shard after shard, each in order."""
    heads = (await history.heads(range(SHARDS)))["events"]
    shards = await history.shards(selection)
    positions, events = list(begun), 0
    total, seen = sum(max(heads[shard] - begun[shard], 0) for shard in shards), 0
    for shard in shards:
        async for page, until in _pages(history, selection, shard, begun[shard], heads[shard]):
            seen += until - positions[shard]
            positions[shard] = until
            if page or until == heads[shard]:
                lines.write(b"".join(page), positions)
            events += len(page)
            on_progress(seen, total)
    return Exported(events, positions)


async def _pages(
    history: History, selection: Selection, shard: int, after: int, head: int
) -> AsyncIterator[tuple[list[bytes], int]]:
    while after < head:
        until = min(after + PAGE, head)
        rows = await history.rows("events", shard, after, until, selection, PAGE)
        yield [line_of(row) for row in rows if isinstance(row, EventRow)], until
        after = until


class File:
    """A file and what is known of it. ``positions``: where to go on, zeros for a new one.

    Raises:
        CannotGoOn: it holds another selection, or something that no export wrote.
    """

    def __init__(self, path: Path, selection: Selection) -> None:
        self.path = path
        self.resume = path.with_name(f"{path.name}.resume")
        self.selected = str(selection)
        known = self._known()
        self.positions: list[int] = known["positions"]
        self._length: int = known["bytes"]
        self._file = path.open("r+b" if path.exists() else "w+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CannotGoOn(f"{path} is being written by another export") from None
        # What is longer was written after the last whole page.
        self._file.truncate(self._length)
        self._file.seek(self._length)

    def _known(self) -> dict[str, Any]:
        if not self.resume.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise CannotGoOn(f"{self.path} is not an export that can be gone on with: name another file")
            return {"positions": [0] * SHARDS, "bytes": 0}
        try:
            known: dict[str, Any] = json.loads(self.resume.read_text())
            selected, length = known["selection"], int(known["bytes"])
        except (ValueError, KeyError, TypeError):
            raise CannotGoOn(f"{self.resume} cannot be read: remove it and {self.path} to begin anew") from None
        if selected != self.selected:
            raise CannotGoOn(f"{self.path} holds {selected}, not {self.selected}: name another file")
        if not self.path.exists() or self.path.stat().st_size < length:
            raise CannotGoOn(f"{self.path} is shorter than it was: remove {self.resume} to begin anew")
        return known

    def write(self, lines: bytes, positions: list[int]) -> None:
        """Add lines, then note how far that is; both stand on the disk before this returns. Raises CannotGoOn."""
        try:
            self._write(lines, positions)
        except OSError as error:
            raise CannotGoOn(f"{self.path} cannot be written: {error.strerror}") from None

    def _write(self, lines: bytes, positions: list[int]) -> None:
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._length += len(lines)
        fresh = self.resume.with_name(f"{self.resume.name}.new")
        with fresh.open("w") as note:
            json.dump({"selection": self.selected, "positions": positions, "bytes": self._length}, note)
            note.flush()
            os.fsync(note.fileno())
        fresh.replace(self.resume)

    def close(self) -> None:
        """Close it."""
        self._file.close()
