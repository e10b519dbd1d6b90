"""Replays a part of the log to a topic of the caller's choice: same ids and sequence numbers, with ``replay: true``.

The target topic is the replay's only checkpoint: each record has its sequence number and the request as headers, and
is written in a transaction. Running the same request again continues after the last record of each partition.
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition

from schemas.topics import TOPICS
from services.eventlog.feed_history import EVERYTHING, FeedHistory, LogFilter
from services.eventlog.feeds import FEED_BY_TOPIC
from services.kafka.producer_closing import close_producer
from services.kafka.records import OutgoingRecord
from services.kafka.topic_reader import wait_until_committed
from services.kafka.topics import ensure_replay_target
from services.kafka.transactions import create_transactional_producer, send_transaction
from services.publishing.cloudevents import PublishingFormat
from services.publishing.record_headers import mark_replayed
from services.publishing.record_mapper import RecordMapper, get_sequence
from services.publishing.topic_ends import read_topic_ends

TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
COMMANDS_TOPIC_NAME = re.compile(r"(^|[._-])commands$")
SEQUENCES_PER_QUERY = 50_000
ROWS_MAX = 500
BYTES_MAX = 4 << 20


class ReplayRefused(Exception):
    """The request cannot be replayed to that topic; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The part of an output (topic without prefix) to publish again to ``target`` (full topic name).

    ``per_second``: the most records per second, None for no limit.

    Raises:
        ValueError: unknown output, a rate that is not positive and finite, or dead letters of an account, course or
            assignment.
    """

    output: str
    target: str
    log_filter: LogFilter
    per_second: float | None = None

    def __post_init__(self) -> None:
        if self.output not in FEED_BY_TOPIC:
            raise ValueError(f"there is no output {self.output}: choose from {', '.join(FEED_BY_TOPIC)}")
        if self.per_second is not None and not 0 < self.per_second < math.inf:
            raise ValueError("the rate must be a finite number of records per second above 0")
        if self.output == "dead-letters" and self.log_filter.root_account is not None:
            raise ValueError("dead letters belong to no account, course or assignment: leave these options out")

    def __str__(self) -> str:
        return f"{self.output} {self.log_filter}"


@dataclass(frozen=True, slots=True)
class ReplayProgress:
    """Records ``emitted`` by this run, and how many rows of the log were ``scanned``, of a ``total``."""

    emitted: int
    scanned: int
    total: int


def reject_service_topics(target: str) -> None:
    """Reject topics that only the relay may write, with any prefix, and topics of commands.

    Raises:
        ReplayRefused: the name could be one of them, or is not a valid topic name.
    """
    if not TOPIC_NAME.fullmatch(target) or target in (".", ".."):
        raise ReplayRefused(f"{target!r} is not a topic name: use letters, digits, dots, underscores and hyphens")
    if target.startswith("__") or target.rpartition(".")[2] in TOPICS or COMMANDS_TOPIC_NAME.search(target):
        raise ReplayRefused(
            f"{target} is, or could be, a topic of the service or of Kafka: choose another name. To refill the"
            " service's own topics run moderated-grading admin rewind"
        )


async def replay(
    bootstrap: str,
    connection: "asyncpg.Connection[asyncpg.Record]",
    publishing_format: PublishingFormat,
    request: ReplayRequest,
) -> AsyncGenerator[ReplayProgress, None]:
    """Publish the request's records and yield the progress after each transaction; it can be interrupted and resumed.

    When this ends, consumers can read all records. Starting it fences a running replay to the same target.

    Raises:
        ReplayRefused: the target is one of the service's own topics, or holds other records.
        TopicConfigError: the target cannot be created, or has too few partitions or unsafe settings.
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    reject_service_topics(request.target)
    shards = await FeedHistory(connection).shards(EVERYTHING)
    await ensure_replay_target(bootstrap, request.target, len(shards))
    producer = create_transactional_producer(bootstrap, f"{request.target}.replay")
    try:
        await producer.start()
        async for progress in _ReplayRun(producer, bootstrap, connection, publishing_format, request).run():
            yield progress
        await wait_until_committed(bootstrap, [TopicPartition(request.target, shard) for shard in shards])
    finally:
        await close_producer(producer)


class _ReplayRun:
    """One run of a replay request."""

    def __init__(
        self,
        producer: AIOKafkaProducer,
        bootstrap: str,
        connection: "asyncpg.Connection[asyncpg.Record]",
        publishing_format: PublishingFormat,
        request: ReplayRequest,
    ) -> None:
        self.producer = producer
        self.bootstrap = bootstrap
        self.history = FeedHistory(connection)
        self.record_mapper = RecordMapper(self.history, publishing_format)
        self.request = request
        self.feed = FEED_BY_TOPIC[request.output]
        self.emitted = 0
        self.started_at = 0.0

    async def run(self) -> AsyncIterator[ReplayProgress]:
        shards = await self.history.shards(self.request.log_filter)
        heads = dict(zip(shards, (await self.history.heads(shards))[self.feed], strict=True))
        done_sequences = await self._read_target_sequences(heads)
        total = sum(heads.values())
        yield ReplayProgress(0, sum(done_sequences.values()), total)
        self.started_at = time.monotonic()
        for shard, head in heads.items():
            while done_sequences[shard] < head:
                last = min(done_sequences[shard] + SEQUENCES_PER_QUERY, head)
                window = (self.feed, shard, done_sequences[shard], last, self.request.log_filter)
                rows = await self.history.rows(*window, ROWS_MAX)
                self.record_mapper.hint_upcoming(rows)
                records = [
                    mark_replayed(record, str(self.request))
                    for row in rows
                    for record in await self.record_mapper.map_row(row, (self.request.output,))
                ]
                for chunk in self._split(records):
                    await self._emit(chunk)
                    yield ReplayProgress(self.emitted, sum(done_sequences.values()), total)
                done_sequences[shard] = get_sequence(self.request.output, rows[-1]) if len(rows) == ROWS_MAX else last
                yield ReplayProgress(self.emitted, sum(done_sequences.values()), total)

    async def _read_target_sequences(self, heads: dict[int, int]) -> dict[int, int]:
        """Return, by shard, the sequence number of the last record that the target holds (0: none)."""
        output, target = self.request.output, self.request.target
        shards = await self.history.shards(EVERYTHING)
        ends = (await read_topic_ends(self.bootstrap, self.history, {output: target}, shards))[output]
        for end in ends:
            if end.sequence is not None and end.selection != str(self.request):
                contents = f"a replay of {end.selection}" if end.selection else "records of another kind"
                raise ReplayRefused(
                    f"{target} holds {contents}, not of {self.request}; nothing was published: choose another topic"
                )
        return {shard: ends[shard].sequence or 0 for shard in heads}

    def _split(self, records: Sequence[OutgoingRecord]) -> list[list[OutgoingRecord]]:
        """Split records into transactions of at most 4 MiB, and at most a second's worth of the rate."""
        records_max = (
            ROWS_MAX if self.request.per_second is None else max(1, min(ROWS_MAX, int(self.request.per_second)))
        )
        chunks: list[list[OutgoingRecord]] = []
        size = 0
        for record in records:
            if not chunks or len(chunks[-1]) >= records_max or size > BYTES_MAX:
                chunks.append([])
                size = 0
            chunks[-1].append(record)
            size += record.count_bytes()
        return chunks

    async def _emit(self, records: Sequence[OutgoingRecord]) -> None:
        if self.request.per_second is not None:
            await asyncio.sleep(self.started_at + self.emitted / self.request.per_second - time.monotonic())
        await send_transaction(self.producer, records, lambda _: self.request.target)
        self.emitted += len(records)
