"""Verdicts counted as they come: refusals by cause, the flow of the last minutes, how long decisions took."""

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.eventlog.pipeline_queries import Decided
from services.kafka.partitioning import SHARDS

BUCKET_SECONDS = 10
BUCKETS = 90
REFUSALS_LISTED_MAX = 500
RECENT_MAX = 12
TIMED_MAX = 2_000
Cause = tuple[str | None, str]


@dataclass(slots=True)
class Refusals:
    """Of one type of command for one reason; ``latest``: the last of them, in the order they were read."""

    type: str | None
    reason: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    latest: deque[Decided] = field(default_factory=lambda: deque(maxlen=REFUSALS_LISTED_MAX))

    def add(self, verdict: Decided) -> None:
        """Count one more."""
        self.count += 1
        self.first = verdict.at if self.first is None else min(self.first, verdict.at)
        self.last = verdict.at if self.last is None else max(self.last, verdict.at)
        self.latest.append(verdict)


class Tally:
    """Follows the verdicts of all shards. ``numbers``: how far; they are dense, so their sum is a count."""

    def __init__(self) -> None:
        self.numbers = [0] * SHARDS
        self.refusals: dict[Cause, Refusals] = {}
        self.recent: list[Decided] = []
        self._flow: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        self._timed: deque[tuple[datetime, float]] = deque(maxlen=TIMED_MAX)

    @property
    def decided(self) -> int:
        """All verdicts ever."""
        return sum(self.numbers)

    def add(self, verdicts: Iterable[Decided]) -> None:
        """Count verdicts, each shard's in order."""
        new = []
        for verdict in verdicts:
            self.numbers[verdict.shard] = verdict.number
            bucket = int(verdict.at.timestamp()) // BUCKET_SECONDS
            self._flow[bucket] += 1
            self._timed.append((verdict.at, verdict.seconds))
            if verdict.reason is not None:
                self._refused[bucket] += 1
                cause = (verdict.type, verdict.reason)
                self.refusals.setdefault(cause, Refusals(*cause)).add(verdict)
            new.append(verdict)
        if new:
            self.recent = heapq.nlargest(RECENT_MAX, [*self.recent, *new], key=lambda v: (v.at, v.shard, v.number))
            self._forget_old()

    def _forget_old(self) -> None:
        oldest = max(self._flow) - 2 * BUCKETS
        for counted in (self._flow, self._refused):
            for bucket in [bucket for bucket in counted if bucket < oldest]:
                del counted[bucket]

    def flow(self, now: datetime) -> tuple[int, ...]:
        """Commands decided in each 10 seconds of the last 15 minutes, the oldest first."""
        last = int(now.timestamp()) // BUCKET_SECONDS
        return tuple(self._flow[bucket] for bucket in range(last - BUCKETS + 1, last + 1))

    def rejected(self, now: datetime) -> int:
        """Refusals in the last 15 minutes."""
        last = int(now.timestamp()) // BUCKET_SECONDS
        return sum(self._refused[bucket] for bucket in range(last - BUCKETS + 1, last + 1))

    def latency(self, now: datetime, share: float) -> float | None:
        """The quantile of seconds from append to decision, of the last commands within 15 minutes."""
        seconds = sorted(s for at, s in self._timed if (now - at).total_seconds() < BUCKETS * BUCKET_SECONDS)
        return seconds[min(int(len(seconds) * share), len(seconds) - 1)] if seconds else None

    def causes(self) -> list[Refusals]:
        """Refusals by cause, the largest group first."""
        return sorted(self.refusals.values(), key=lambda group: (-group.count, group.type or "", group.reason))
