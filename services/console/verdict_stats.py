"""Counts verdicts as they arrive: refusals by cause, throughput, latencies."""

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from services.console.verdict_history import VerdictHistory
from services.eventlog.pipeline_queries import VerdictSummary

BUCKET_SECONDS = 10
BUCKET_COUNT = 90
REJECTIONS_LISTED_MAX = 500
RECENT_MAX = 12
LATENCY_SAMPLES_MAX = 2_000
RejectionCause = tuple[str | None, str]


@dataclass(slots=True)
class RejectionGroup:
    """Refusals of one command type for one reason; ``latest_verdicts`` in the order they were read."""

    type: str | None
    reason: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    latest_verdicts: deque[VerdictSummary] = field(default_factory=lambda: deque(maxlen=REJECTIONS_LISTED_MAX))

    def add(self, verdict: VerdictSummary) -> None:
        """Count one refusal."""
        self.count += 1
        self.first = verdict.at if self.first is None else min(self.first, verdict.at)
        self.last = verdict.at if self.last is None else max(self.last, verdict.at)
        self.latest_verdicts.append(verdict)


class VerdictStats:
    """Statistics over the verdicts of all shards.

    ``last_numbers`` by shard; the numbers have no gaps, so their sum is the total.
    """

    def __init__(self) -> None:
        self.last_numbers: dict[int, int] = {}
        self.rejection_groups: dict[RejectionCause, RejectionGroup] = {}
        self.recent_verdicts: list[VerdictSummary] = []
        self._decided_by_bucket: Counter[int] = Counter()
        self._rejected_by_bucket: Counter[int] = Counter()
        self.history = VerdictHistory()
        self._latency_samples: deque[tuple[datetime, float]] = deque(maxlen=LATENCY_SAMPLES_MAX)

    @property
    def decided(self) -> int:
        """The number of all verdicts in the log."""
        return sum(self.last_numbers.values())

    def add(self, verdicts: Iterable[VerdictSummary]) -> None:
        """Add verdicts, those of each shard in order."""
        new_verdicts = []
        for verdict in verdicts:
            self.last_numbers[verdict.shard] = verdict.number
            self.history.add(verdict)
            bucket = int(verdict.at.timestamp()) // BUCKET_SECONDS
            self._decided_by_bucket[bucket] += 1
            self._latency_samples.append((verdict.at, verdict.latency_seconds))
            if verdict.reason is not None:
                self._rejected_by_bucket[bucket] += 1
                cause = (verdict.type, verdict.reason)
                self.rejection_groups.setdefault(cause, RejectionGroup(*cause)).add(verdict)
            new_verdicts.append(verdict)
        if new_verdicts:
            self.recent_verdicts = heapq.nlargest(
                RECENT_MAX, [*self.recent_verdicts, *new_verdicts], key=lambda v: (v.at, v.shard, v.number)
            )
            self._evict_old_buckets()

    def _evict_old_buckets(self) -> None:
        oldest = max(self._decided_by_bucket) - 2 * BUCKET_COUNT
        for counter in (self._decided_by_bucket, self._rejected_by_bucket):
            for bucket in [bucket for bucket in counter if bucket < oldest]:
                del counter[bucket]

    def throughput(self, now: datetime) -> tuple[int, ...]:
        """Return the commands decided in each 10 seconds of the last 15 minutes, the oldest first."""
        last = int(now.timestamp()) // BUCKET_SECONDS
        return tuple(self._decided_by_bucket[bucket] for bucket in range(last - BUCKET_COUNT + 1, last + 1))

    def rejected(self, now: datetime) -> int:
        """Return the number of refusals in the last 15 minutes."""
        last = int(now.timestamp()) // BUCKET_SECONDS
        return sum(self._rejected_by_bucket[bucket] for bucket in range(last - BUCKET_COUNT + 1, last + 1))

    def latency(self, now: datetime, quantile: float) -> float | None:
        """Return a quantile of the seconds from append to decision of the last 15 minutes, None without commands."""
        seconds = sorted(
            s for at, s in self._latency_samples if (now - at).total_seconds() < BUCKET_COUNT * BUCKET_SECONDS
        )
        return seconds[min(int(len(seconds) * quantile), len(seconds) - 1)] if seconds else None

    def groups_by_size(self) -> list[RejectionGroup]:
        """Return refusals by cause, the largest group first."""
        return sorted(self.rejection_groups.values(), key=lambda group: (-group.count, group.type or "", group.reason))
