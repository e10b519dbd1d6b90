"""Limits that end a transaction before the end of its batch, so that memory and time stay bounded."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.commands.batch_writer import BatchWriter

# How long deciding may block the event loop, including one step of a large command.
PAUSE_AFTER_SECONDS = 0.1
# A part may be decided under the locks of its shards, for which other writers wait at most ten seconds.
DECIDE_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """A transaction ends after the command that reaches one of these; a single command may exceed them."""

    events_max: int = 20_000
    size_max: int = 16 << 20


async def give_way() -> None:
    """Let the other tasks of the event loop run."""
    await asyncio.sleep(0)


class BatchMeter:
    """Measures the output of one transaction's records. ``is_slow``: other tasks have waited and should run."""

    def __init__(self, batch: BatchWriter, limits: BatchLimits, give_way: Callable[[], Awaitable[None]]) -> None:
        self.is_slow = False
        self._batch = batch
        self._limits = limits
        self._give_way = give_way
        self._size_by_partition: Counter[int] = Counter()
        self._size = 0
        now = time.monotonic()
        self._pause_at = now + PAUSE_AFTER_SECONDS
        self._end_at = now + DECIDE_SECONDS_MAX

    def is_full(self, partition: int) -> bool:
        """Return whether the transaction ends after the record of this partition that was just added."""
        batch = self._batch
        self._size_by_partition[partition] += batch.size - self._size
        self._size = batch.size
        now = time.monotonic()
        if batch.size >= self._limits.size_max or batch.event_count >= self._limits.events_max or now >= self._end_at:
            return True
        self.is_slow = now >= self._pause_at
        return False

    async def give_way(self) -> None:
        """Let the other tasks of the event loop run."""
        await self._give_way()
        self._pause_at = time.monotonic() + PAUSE_AFTER_SECONDS

    @property
    def heaviest_partition(self) -> int:
        """The partition whose records had the most output."""
        return self._size_by_partition.most_common(1)[0][0]
