"""What ends a transaction before the end of its batch, so that memory and time stay bounded whatever is asked."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.commands.batch_writer import BatchWriter

# How long deciding may keep the event loop from other tasks, one step of a large command included.
PAUSE_AFTER_SECONDS = 0.1
# A part is decided under the locks of its shards at times, for which others wait ten seconds at most.
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
    """Measures what the records of one transaction make. ``is_slow``: other tasks have waited, give way to them."""

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
        """Return whether the transaction ends after the record that was just added, of this partition."""
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
        """The partition whose records made the most."""
        return self._size_by_partition.most_common(1)[0][0]
