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

from services.eventlog.feed_history import FeedHistory, LogFilter
from services.eventlog.feeds import EventRow
from services.kafka.partitioning import SHARD_COUNT

PAGE_SIZE = 2_000
ProgressCallback = Callable[[int, int], None]
"""Called with how many positions of the log have been looked at, and how many there are."""


class CannotResume(Exception):
    """The file holds something else, or cannot be written; the message says what, and the remedy."""


class LineSink(Protocol):
    """Takes whole lines, after which the shards are written up to these positions."""

    def write(self, lines: bytes, positions: list[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class ExportResult:
    """``events``: written now; ``positions``: how far each shard is written."""

    events: int
    positions: list[int]


def serialize_event(event: EventRow) -> bytes:
    """One event: the value on the events topic, with its place, its id and its cause."""
    metadata = orjson.loads(event.metadata)
    envelope: dict[str, Any] = {"id": metadata["id"], "event_type": event.type, "shard": event.shard}
    envelope |= {"position": event.position, "live_number": event.live_number, "command_id": metadata["command_id"]}
    if "correlation_id" in metadata:
        envelope["correlation_id"] = metadata["correlation_id"]
    return orjson.dumps({**envelope, **orjson.loads(event.data)}, option=orjson.OPT_APPEND_NEWLINE)


async def write_events(
    history: FeedHistory,
    selection: LogFilter,
    sink: LineSink,
    start_positions: list[int],
    on_progress: ProgressCallback,
) -> ExportResult:
    """Write what stands in the log now after the positions of ``begun``, shard after shard, each in order."""
    heads = (await history.heads(range(SHARD_COUNT)))["events"]
    shards = await history.shards(selection)
    positions, events = list(start_positions), 0
    total, positions_read = sum(max(heads[shard] - start_positions[shard], 0) for shard in shards), 0
    for shard in shards:
        async for page, until in _read_pages(history, selection, shard, start_positions[shard], heads[shard]):
            positions_read += until - positions[shard]
            positions[shard] = until
            if page or until == heads[shard]:
                sink.write(b"".join(page), positions)
            events += len(page)
            on_progress(positions_read, total)
    return ExportResult(events, positions)


async def _read_pages(
    history: FeedHistory, selection: LogFilter, shard: int, after: int, head: int
) -> AsyncIterator[tuple[list[bytes], int]]:
    while after < head:
        page_end = min(after + PAGE_SIZE, head)
        rows = await history.rows("events", shard, after, page_end, selection, PAGE_SIZE)
        yield [serialize_event(row) for row in rows if isinstance(row, EventRow)], page_end
        after = page_end


class ResumableFile:
    """A file and what is known of it. ``positions``: where to go on, zeros for a new one.

    Raises:
        CannotGoOn: it holds another selection, or something that no export wrote.
    """

    def __init__(self, path: Path, selection: LogFilter) -> None:
        self.path = path
        self.checkpoint_path = path.with_name(f"{path.name}.resume")
        self.selection_text = str(selection)
        checkpoint = self._read_checkpoint()
        self.positions: list[int] = checkpoint["positions"]
        self._written_bytes: int = checkpoint["bytes"]
        self._file = path.open("r+b" if path.exists() else "w+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CannotResume(f"{path} is being written by another export") from None
        # What is longer was written after the last whole page.
        self._file.truncate(self._written_bytes)
        self._file.seek(self._written_bytes)

    def _read_checkpoint(self) -> dict[str, Any]:
        if not self.checkpoint_path.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise CannotResume(f"{self.path} is not an export that can be gone on with: name another file")
            return {"positions": [0] * SHARD_COUNT, "bytes": 0}
        try:
            checkpoint: dict[str, Any] = json.loads(self.checkpoint_path.read_text())
            checkpoint_selection, checkpoint_length = checkpoint["selection"], int(checkpoint["bytes"])
        except (ValueError, KeyError, TypeError):
            raise CannotResume(
                f"{self.checkpoint_path} cannot be read: remove it and {self.path} to begin anew"
            ) from None
        if checkpoint_selection != self.selection_text:
            raise CannotResume(
                f"{self.path} holds {checkpoint_selection}, not {self.selection_text}: name another file"
            )
        if not self.path.exists() or self.path.stat().st_size < checkpoint_length:
            raise CannotResume(f"{self.path} is shorter than it was: remove {self.checkpoint_path} to begin anew")
        return checkpoint

    def write(self, lines: bytes, positions: list[int]) -> None:
        """Add lines, then note how far that is; both stand on the disk before this returns. Raises CannotGoOn."""
        try:
            self._append_page(lines, positions)
        except OSError as error:
            raise CannotResume(f"{self.path} cannot be written: {error.strerror}") from None

    def _append_page(self, lines: bytes, positions: list[int]) -> None:
        self._file.write(lines)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._written_bytes += len(lines)
        temporary_path = self.checkpoint_path.with_name(f"{self.checkpoint_path.name}.new")
        with temporary_path.open("w") as checkpoint_file:
            json.dump(
                {"selection": self.selection_text, "positions": positions, "bytes": self._written_bytes},
                checkpoint_file,
            )
            checkpoint_file.flush()
            os.fsync(checkpoint_file.fileno())
        temporary_path.replace(self.checkpoint_path)

    def close(self) -> None:
        """Close it."""
        self._file.close()
