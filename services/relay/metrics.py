"""The relay's metrics, updated once per transaction, and gauges of the log that are polled."""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg

from schemas.topics import OUTPUT_TOPICS
from services.eventlog.dead_letter_count import DeadLetterCounter
from services.eventlog.feeds import FEED_BY_TOPIC, EventRow
from services.eventlog.postgres import close_quickly
from services.eventlog.relay_lag import ShardLag, read_relay_lag
from services.eventlog.verdict_months import read_months_ahead
from services.kafka.relay_progress import RelayProgress
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS
from services.relay.transaction_builder import PendingTransaction
from services.runtime.errors import FENCED_ERRORS, POSTGRES_ERRORS
from services.runtime.failpoints import failpoints
from services.telemetry.collectors import Labels
from services.telemetry.metrics.relay import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces

LOGGER = logging.getLogger("relay")
COUNT_INTERVAL_SECONDS = 1.0
"""How often dead letters are counted, while a count takes next to no time."""


class RelayTelemetry:
    """Metrics and traces of all lanes of this relay."""

    def __init__(self, metrics: RelayMetrics, traces: "RecordTraces | None" = None) -> None:
        self.metrics = metrics
        self.traces = traces
        self._progress_by_lane: dict[int, RelayProgress] = {}
        self._publishing_streams: dict[int, set[int]] = {}
        self._lag_shards: Sequence[int] = ()
        self._shard_lags: list[ShardLag] = []
        self._months_ahead: int | None = None
        self.dead_letter_counter = DeadLetterCounter()
        for topic in OUTPUT_TOPICS:
            metrics.records.labels(topic)
        for topic in ("events", *GRADE_CHANGE_BUILDERS):
            metrics.publish_seconds.ensure_series(topic)
        for outcome in ("committed", "failed"):
            metrics.transactions.labels(outcome)
        metrics.position.callback = self._list_positions
        metrics.log_position.callback = lambda: self._by_shard_and_topic([w.heads for w in self._shard_lags])
        metrics.lag_seconds.callback = lambda: self._by_shard_and_topic([w.ages for w in self._shard_lags])
        metrics.lag_records.callback = self._compute_lags
        metrics.verdict_months_ahead.callback = lambda: [] if self._months_ahead is None else [((), self._months_ahead)]
        metrics.dead_letters_open.callback = self._read_open_dead_letters
        metrics.dead_letters_oldest.callback = self._read_oldest_dead_letter

    def start(self, lanes: Iterable[int]) -> None:
        """Begin with all lanes on standby."""
        for lane in lanes:
            self._publishing_streams[lane] = set()
            self.metrics.active.labels(str(lane)).set(0)

    def mark_standby(self, lane: int) -> None:
        """Record that this relay is not active on this lane; another one may be."""
        self.mark_inactive(lane)
        self._progress_by_lane.pop(lane, None)
        self._publishing_streams[lane].clear()
        self._count_publications()
        if not self._progress_by_lane:
            self._lag_shards, self._shard_lags, self._months_ahead = (), [], None
            self.dead_letter_counter.last_count = None

    def mark_active(self, lane: int, progress: RelayProgress) -> None:
        """Record that this relay is now the active one on this lane."""
        self.metrics.active.labels(str(lane)).set(1)
        self._progress_by_lane[lane] = progress

    def mark_inactive(self, lane: int) -> None:
        """Record that the lane's connection or producer failed: no relay is active on it until both are recreated."""
        self.metrics.active.labels(str(lane)).set(0)

    def record_transaction(self, lane: int, transaction: PendingTransaction, started_at: float) -> None:
        """Record a committed Kafka transaction; ``started_at`` is in monotonic seconds."""
        self._progress_by_lane[lane] = transaction.progress
        self.metrics.transactions.labels("committed").inc()
        seconds = time.monotonic() - started_at
        self.metrics.transaction_seconds.observe(seconds)
        self.metrics.transaction_records.observe(len(transaction.records))
        for topic, count in Counter(record.topic for record in transaction.records).items():
            self.metrics.records.labels(topic).inc(count)
        self._count_events(lane, transaction.new_events)
        if self.traces is not None:
            ended_at = time.time()
            self.traces.record_transaction(transaction.records, ended_at - seconds, ended_at)

    def _count_events(self, lane: int, new_events: Mapping[str, Sequence[EventRow]]) -> None:
        """Count by output what was published for the first time: a replay is neither late nor a publication."""
        now = time.time()
        for output, rows in new_events.items():
            self.metrics.publish_seconds.observe([_age_at(now, row) for row in rows], output)
        for row in new_events.get("events", ()):
            if row.type == "grade_published":
                self._publishing_streams[lane].add(row.stream)
            elif row.type == "grades_posted":
                self._publishing_streams[lane].discard(row.stream)
                self.metrics.publication_seconds.observe(_age_at(now, row))
        self._count_publications()

    def _count_publications(self) -> None:
        self.metrics.publications_active.set(sum(map(len, self._publishing_streams.values())))

    def record_failure(self, error: BaseException) -> None:
        """Count a transaction that failed or whose outcome is unknown, and as fenced if another relay took over."""
        if isinstance(error, asyncio.CancelledError):
            return
        self.metrics.transactions.labels("failed").inc()
        if isinstance(error, FENCED_ERRORS):
            self.metrics.fenced.inc()

    async def poll_lag(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Poll the log for rows that are not published yet, and for the months that have a partition."""
        if not self._progress_by_lane:
            return
        progress = RelayProgress.merge(self._progress_by_lane.values())
        shard_lags = await read_relay_lag(
            connection,
            progress.shards,
            [
                (FEED_BY_TOPIC[topic], [progress.sequences[topic][n] for n in progress.shards])
                for topic in OUTPUT_TOPICS
            ],
        )
        months_ahead = await read_months_ahead(connection)
        self._lag_shards, self._shard_lags, self._months_ahead = progress.shards, shard_lags, months_ahead

    async def count_dead_letters(
        self, connect_postgres: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]
    ) -> None:
        """Count open dead letters until cancelled, over a connection of its own: a slow count delays no check."""
        connection: asyncpg.Connection[asyncpg.Record] | None = None
        problem: str | None = None
        try:
            while True:
                try:
                    if self._progress_by_lane:
                        async with failpoints.around("monitor.dead_letters"):
                            if connection is None or connection.is_closed():
                                connection = await connect_postgres()
                            await self.dead_letter_counter.count_when_due(connection)
                    problem = None
                except POSTGRES_ERRORS as error:
                    if problem != type(error).__name__:
                        problem = type(error).__name__
                        LOGGER.warning("open dead letters cannot be counted, the last count stays: %s", problem)
                    if connection is not None:
                        # Unlike terminate(), it ends the count in PostgreSQL, too.
                        with contextlib.suppress(*POSTGRES_ERRORS):
                            await close_quickly(connection)
                        connection = None
                await asyncio.sleep(COUNT_INTERVAL_SECONDS)
        finally:
            if connection is not None:
                connection.terminate()

    def _read_open_dead_letters(self) -> Iterable[tuple[Labels, float]]:
        last_count = self._last_dead_letter_count
        return [] if last_count is None else [((), last_count[0])]

    def _read_oldest_dead_letter(self) -> Iterable[tuple[Labels, float]]:
        last_count = self._last_dead_letter_count
        if last_count is None:
            return []
        oldest_at = last_count[1]
        return [((), 0.0 if oldest_at is None else max(time.time() - oldest_at.timestamp(), 0.0))]

    @property
    def _last_dead_letter_count(self) -> tuple[int, datetime | None] | None:
        """The last count; None on standby, where a count may still end."""
        return self.dead_letter_counter.last_count if self._progress_by_lane else None

    def _list_positions(self) -> Iterable[tuple[Labels, float]]:
        for progress in self._progress_by_lane.values():
            for shard in progress.shards:
                for topic in OUTPUT_TOPICS:
                    yield (str(shard), topic), progress.sequences[topic][shard]

    def _compute_lags(self) -> Iterable[tuple[Labels, float]]:
        """Compare the last polled heads with the present progress, which may have passed them.

        A shard in which no row waits lacks none: archived verdicts up to its head are never published.
        """
        positions = dict(self._list_positions())
        ages = dict(self._by_shard_and_topic([lag.ages for lag in self._shard_lags]))
        for labels, head in self._by_shard_and_topic([lag.heads for lag in self._shard_lags]):
            if labels in positions:
                yield labels, max(head - positions[labels], 0) if ages[labels] else 0

    def _by_shard_and_topic(self, values: Iterable[Sequence[float]]) -> Iterable[tuple[Labels, float]]:
        for shard, shard_values in zip(self._lag_shards, values, strict=True):
            for topic, value in zip(OUTPUT_TOPICS, shard_values, strict=True):
                yield (str(shard), topic), value


def _age_at(now: float, row: EventRow) -> float:
    return max(now - row.recorded_at.timestamp(), 0.0)
