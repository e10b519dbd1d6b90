"""The relay's metrics, updated once per transaction, and gauges of the log that are polled."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from schemas.topics import OUTPUT_TOPICS
from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.feeds import FEED_BY_TOPIC, EventRow, FeedRow
from services.eventlog.relay_lag import ShardLag, read_relay_lag
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS
from services.runtime.errors import FENCED_ERRORS
from services.telemetry.collectors import Labels
from services.telemetry.metrics import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces

# The pause between two counts of open dead letters is this many times the duration of a count.
COUNT_BACKOFF_FACTOR = 20


class RelayTelemetry:
    """``progress`` is this relay's progress, None while it is not the active one."""

    def __init__(self, metrics: RelayMetrics, traces: "RecordTraces | None" = None) -> None:
        self.metrics = metrics
        self.traces = traces
        self.progress: RelayProgress | None = None
        self._producer_count = 0
        self._publishing_streams: set[int] = set()
        self._shard_lags: list[ShardLag] = []
        self._open_dead_letter_summary: tuple[int, datetime | None] | None = None
        self._next_count_at = 0.0
        for topic in OUTPUT_TOPICS:
            metrics.records.labels(topic)
        for topic in ("events", *GRADE_CHANGE_BUILDERS):
            metrics.publish_seconds.ensure_series(topic)
        for outcome in ("committed", "failed"):
            metrics.transactions.labels(outcome)
        metrics.position.callback = lambda: self._by_shard_and_topic(self._list_positions())
        metrics.log_position.callback = lambda: self._by_shard_and_topic([w.heads for w in self._shard_lags])
        metrics.lag_seconds.callback = lambda: self._by_shard_and_topic([w.ages for w in self._shard_lags])
        metrics.lag_records.callback = lambda: self._by_shard_and_topic(self._compute_lags())
        metrics.dead_letters_open.callback = self._read_open_dead_letters
        metrics.dead_letters_oldest.callback = self._read_oldest_dead_letter

    def mark_standby(self) -> None:
        """Record that this relay is not active; another one may be."""
        self.metrics.active.set(0)
        self.progress, self._shard_lags, self._open_dead_letter_summary = None, [], None
        self._publishing_streams.clear()
        self.metrics.publications_active.set(0)

    def mark_active(self, progress: RelayProgress) -> None:
        """Record that this relay is now the active one."""
        self.metrics.active.set(1)
        self.progress = progress

    def mark_inactive(self) -> None:
        """Record that this relay's connection or producer failed: no relay is active until both are recreated."""
        self.metrics.active.set(0)

    def record_new_producer(self) -> None:
        """Count a recreated producer; the first one does not count."""
        if self._producer_count:
            self.metrics.producers_recreated.inc()
        self._producer_count += 1

    def record_transaction(
        self, rows: Iterable[FeedRow], records: Sequence[OutgoingRecord], progress: RelayProgress, started_at: float
    ) -> None:
        """Record a committed Kafka transaction; ``started_at`` is in monotonic seconds."""
        self.progress = progress
        self.metrics.transactions.labels("committed").inc()
        seconds = time.monotonic() - started_at
        self.metrics.transaction_seconds.observe(seconds)
        self.metrics.transaction_records.observe(len(records))
        for topic, count in Counter(record.topic for record in records).items():
            self.metrics.records.labels(topic).inc(count)
        self._count_events([row for row in rows if isinstance(row, EventRow)])
        if self.traces is not None:
            ended_at = time.time()
            self.traces.record_transaction(records, ended_at - seconds, ended_at)

    def _count_events(self, rows: list[EventRow]) -> None:
        now = time.time()
        ages = [max(now - row.recorded_at.timestamp(), 0.0) for row in rows]
        live_ages = [age for row, age in zip(rows, ages, strict=True) if row.live_number is not None]
        for row, age in zip(rows, ages, strict=True):
            if row.type == "grade_published":
                self._publishing_streams.add(row.stream)
            elif row.type == "grades_posted":
                self._publishing_streams.discard(row.stream)
                self.metrics.publication_seconds.observe(age)
        self.metrics.publications_active.set(len(self._publishing_streams))
        self.metrics.publish_seconds.observe(ages, "events")
        for topic in GRADE_CHANGE_BUILDERS:
            self.metrics.publish_seconds.observe(live_ages, topic)

    def record_failure(self, error: BaseException) -> None:
        """Count a transaction that failed or whose outcome is unknown, and as fenced if another relay took over."""
        if isinstance(error, asyncio.CancelledError):
            return
        self.metrics.transactions.labels("failed").inc()
        if isinstance(error, FENCED_ERRORS):
            self.metrics.fenced.inc()

    async def poll_lag(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Poll the log for rows that are not published yet, and for open dead letters."""
        progress = self.progress
        if progress is None:
            return
        self._shard_lags = await read_relay_lag(
            connection, ALL_SHARDS, [(FEED_BY_TOPIC[topic], progress.sequences[topic]) for topic in OUTPUT_TOPICS]
        )
        started_at = time.monotonic()
        if started_at >= self._next_count_at:
            self._open_dead_letter_summary = await DeadLetterReader(connection).count_open()
            ended_at = time.monotonic()
            self._next_count_at = ended_at + COUNT_BACKOFF_FACTOR * (ended_at - started_at)

    def _read_open_dead_letters(self) -> Iterable[tuple[Labels, float]]:
        return [] if self._open_dead_letter_summary is None else [((), self._open_dead_letter_summary[0])]

    def _read_oldest_dead_letter(self) -> Iterable[tuple[Labels, float]]:
        if self._open_dead_letter_summary is None:
            return []
        oldest_at = self._open_dead_letter_summary[1]
        return [((), 0.0 if oldest_at is None else max(time.time() - oldest_at.timestamp(), 0.0))]

    def _list_positions(self) -> list[tuple[int, ...]]:
        if self.progress is None:
            return []
        return list(zip(*(self.progress.sequences[topic] for topic in OUTPUT_TOPICS), strict=True))

    def _compute_lags(self) -> list[tuple[int, ...]]:
        """Compare the last polled heads with the present progress, which may have passed them."""
        return [
            tuple(max(head - position, 0) for head, position in zip(shard_lag.heads, positions, strict=True))
            for shard_lag, positions in zip(self._shard_lags, self._list_positions(), strict=False)
        ]

    @staticmethod
    def _by_shard_and_topic(values: Iterable[Sequence[float]]) -> Iterable[tuple[Labels, float]]:
        for shard, shard_values in enumerate(values):
            for topic, value in zip(OUTPUT_TOPICS, shard_values, strict=True):
                yield (str(shard), topic), value
