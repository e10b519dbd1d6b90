"""Verdicts of the last seven days in buckets of five minutes: how many, how many refusals, how late."""

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from services.eventlog.pipeline_queries import VerdictSummary

BUCKET_SECONDS = 300
DAYS = 7
BUCKET_COUNT = DAYS * 86_400 // BUCKET_SECONDS
# Latencies are counted in steps of 10 %: a quantile is off by less than 5 %.
LATENCY_STEP = math.log(1.1)
LATENCY_SECONDS_MIN = 0.001
# Adding up seven days takes some ten milliseconds.
REUSE_SECONDS = 5
PeriodName = Literal["6h", "7d"]


@dataclass(frozen=True, slots=True)
class Period:
    """A period up to now: ``bar_buckets`` buckets make a bar of its chart."""

    name: PeriodName
    text: str
    bar_text: str
    bar_buckets: int
    bars: int


PERIODS: dict[PeriodName, Period] = {
    "6h": Period("6h", "6 hours", "5 min", 1, 72),
    "7d": Period("7d", "7 days", "2 h", 24, 84),
}


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """Figures of a period: commands decided in each bar, the oldest first; quantiles None without commands."""

    period: Period
    decided_by_bar: tuple[int, ...]
    rejected: int
    p50: float | None
    p99: float | None

    @property
    def decided(self) -> int:
        """The number of commands decided in the period."""
        return sum(self.decided_by_bar)


@dataclass(slots=True)
class _Bucket:
    decided: int = 0
    rejected: int = 0
    latencies: Counter[int] = field(default_factory=Counter)


class VerdictHistory:
    """Counts verdicts, in any order, by the time at which they were recorded; keeps 7 to 14 days."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}
        self._recent: dict[PeriodName, tuple[int, PeriodFigures]] = {}

    def add(self, verdict: VerdictSummary) -> None:
        """Count one verdict."""
        number = int(verdict.at.timestamp()) // BUCKET_SECONDS
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = _Bucket()
            self._evict_old_buckets()
        bucket.decided += 1
        bucket.rejected += verdict.reason is not None
        bucket.latencies[_latency_step(verdict.latency_seconds)] += 1

    def _evict_old_buckets(self) -> None:
        if len(self._buckets) > 2 * BUCKET_COUNT:
            oldest = max(self._buckets) - BUCKET_COUNT
            self._buckets = {number: bucket for number, bucket in self._buckets.items() if number >= oldest}

    def recent_figures(self, period: Period, now: datetime) -> PeriodFigures:
        """Return the figures of the period, at most REUSE_SECONDS old: all readers of live pages share them."""
        time_slot = int(now.timestamp()) // REUSE_SECONDS
        recent = self._recent.get(period.name)
        if recent is None or recent[0] != time_slot:
            recent = self._recent[period.name] = time_slot, self.figures(period, now)
        return recent[1]

    def figures(self, period: Period, now: datetime) -> PeriodFigures:
        """Return the figures of the period that ends with the bucket of ``now``, which is not complete."""
        end = int(now.timestamp()) // BUCKET_SECONDS + 1
        begins = range(end - period.bars * period.bar_buckets, end, period.bar_buckets)
        bars = [self._find_buckets(begin, begin + period.bar_buckets) for begin in begins]
        latencies: Counter[int] = Counter()
        for bucket in (bucket for bar in bars for bucket in bar):
            latencies.update(bucket.latencies)
        return PeriodFigures(
            period,
            tuple(sum(bucket.decided for bucket in bar) for bar in bars),
            sum(bucket.rejected for bar in bars for bucket in bar),
            _quantile(latencies, 0.5),
            _quantile(latencies, 0.99),
        )

    def _find_buckets(self, begin: int, end: int) -> list[_Bucket]:
        return [self._buckets[number] for number in range(begin, end) if number in self._buckets]


def _latency_step(seconds: float) -> int:
    return round(math.log(max(seconds, LATENCY_SECONDS_MIN)) / LATENCY_STEP)


def _quantile(latencies: Counter[int], quantile: float) -> float | None:
    remaining = int(latencies.total() * quantile)
    for step in sorted(latencies):
        remaining -= latencies[step]
        if remaining < 0:
            return math.exp(step * LATENCY_STEP)
    return None
