"""What the relay tells about itself, taken from what it has done."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import asyncpg
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from services.eventlog.dead_letters import Failures
from services.eventlog.feeds import EventRow, Row
from services.eventlog.relay_lag import Unpublished, unpublished
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import OUTPUTS, SERIES, Progress
from services.publishing.cloudevents import Message
from services.publishing.record_mapper import PUBLISHED
from services.telemetry.collectors import Labels
from services.telemetry.metrics import RelayMetrics

if TYPE_CHECKING:
    from services.relay.tracing import RecordTraces

SHARD_LIST = list(range(SHARDS))
# Where many dead letters are open, they are counted the more seldom.
REST_PER_WORK = 20


class Telling:
    """``progress``: how far this relay has come, None while it is not the one that writes."""

    def __init__(self, metrics: RelayMetrics, traces: "RecordTraces | None" = None) -> None:
        self.metrics = metrics
        self.traces = traces
        self.progress: Progress | None = None
        self._lives = 0
        self._publishing: set[int] = set()
        self._waiting: list[Unpublished] = []
        self._dead_letters: tuple[int, datetime | None] | None = None
        self._count_again_at = 0.0
        for topic in OUTPUTS:
            metrics.records.labels(topic)
        for topic in ("events", *PUBLISHED):
            metrics.publish_seconds.of(topic)
        for outcome in ("committed", "failed"):
            metrics.transactions.labels(outcome)
        metrics.position.read = lambda: self._by_shard_and_topic(self._positions())
        metrics.log_position.read = lambda: self._by_shard_and_topic([w.heads for w in self._waiting])
        metrics.lag_seconds.read = lambda: self._by_shard_and_topic([w.ages for w in self._waiting])
        metrics.lag_records.read = lambda: self._by_shard_and_topic(self._lags())
        metrics.dead_letters_open.read = self._open_dead_letters
        metrics.dead_letters_oldest.read = self._oldest_dead_letter

    def standing_by(self) -> None:
        """Another relay writes, or none does."""
        self.metrics.active.set(0)
        self.progress, self._waiting, self._dead_letters = None, [], None
        self._publishing.clear()
        self.metrics.publications_active.set(0)

    def took_over(self, progress: Progress) -> None:
        """This relay writes from here on."""
        self.metrics.active.set(1)
        self.progress = progress

    def lost(self) -> None:
        """This relay's connection or producer failed: until both are made anew nobody writes."""
        self.metrics.active.set(0)

    def new_producer(self) -> None:
        """A producer was made; the first one is nothing to speak of."""
        if self._lives:
            self.metrics.producers.inc()
        self._lives += 1

    def committed(self, rows: Iterable[Row], messages: Sequence[Message], progress: Progress, begun: float) -> None:
        """A Kafka transaction that began at ``begun`` (monotonic seconds) is committed."""
        self.progress = progress
        self.metrics.transactions.labels("committed").inc()
        seconds = time.monotonic() - begun
        self.metrics.transaction_seconds.observe(seconds)
        self.metrics.transaction_records.observe(len(messages))
        for topic, count in Counter(message.topic for message in messages).items():
            self.metrics.records.labels(topic).inc(count)
        self._count_events([row for row in rows if isinstance(row, EventRow)])
        if self.traces is not None:
            ended = time.time()
            self.traces.published(messages, ended - seconds, ended)

    def _count_events(self, rows: list[EventRow]) -> None:
        now = time.time()
        ages = [max(now - row.recorded_at.timestamp(), 0.0) for row in rows]
        live = [age for row, age in zip(rows, ages, strict=True) if row.live_number is not None]
        for row, age in zip(rows, ages, strict=True):
            if row.type == "grade_published":
                self._publishing.add(row.stream)
            elif row.type == "grades_posted":
                self._publishing.discard(row.stream)
                self.metrics.publication_seconds.observe(age)
        self.metrics.publications_active.set(len(self._publishing))
        self.metrics.publish_seconds.observe(ages, "events")
        for topic in PUBLISHED:
            self.metrics.publish_seconds.observe(live, topic)

    def failed(self, error: BaseException) -> None:
        """The transaction under way was not committed, or nobody knows; fenced, where another relay took over."""
        if isinstance(error, asyncio.CancelledError):
            return
        self.metrics.transactions.labels("failed").inc()
        if isinstance(error, ProducerFenced | InvalidProducerEpoch):
            self.metrics.fenced.inc()

    async def look(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Ask the log what is not on the topics yet."""
        progress = self.progress
        if progress is None:
            return
        self._waiting = await unpublished(
            connection, SHARD_LIST, [(SERIES[topic], progress.sequences[topic]) for topic in OUTPUTS]
        )
        begun = time.monotonic()
        if begun >= self._count_again_at:
            self._dead_letters = await Failures(connection).count_open()
            ended = time.monotonic()
            self._count_again_at = ended + REST_PER_WORK * (ended - begun)

    def _open_dead_letters(self) -> Iterable[tuple[Labels, float]]:
        return [] if self._dead_letters is None else [((), self._dead_letters[0])]

    def _oldest_dead_letter(self) -> Iterable[tuple[Labels, float]]:
        if self._dead_letters is None:
            return []
        since = self._dead_letters[1]
        return [((), 0.0 if since is None else max(time.time() - since.timestamp(), 0.0))]

    def _positions(self) -> list[tuple[int, ...]]:
        if self.progress is None:
            return []
        return list(zip(*(self.progress.sequences[topic] for topic in OUTPUTS), strict=True))

    def _lags(self) -> list[tuple[int, ...]]:
        """What was relayed since the last look at the log waits no more."""
        return [
            tuple(max(head - position, 0) for head, position in zip(waiting.heads, positions, strict=True))
            for waiting, positions in zip(self._waiting, self._positions(), strict=False)
        ]

    @staticmethod
    def _by_shard_and_topic(values: Iterable[Sequence[float]]) -> Iterable[tuple[Labels, float]]:
        for shard, of_shard in enumerate(values):
            for kind, value in zip(OUTPUTS, of_shard, strict=True):
                yield (str(shard), kind), value
