"""What waits for the topics: rows of the log after the relay's progress, translated, one transaction after another."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from services.eventlog.feeds import FEED_BY_TOPIC, DeadLetterRow, EventRow, FeedReader, FeedRow, VerdictRow
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.publishing.cloudevents import build_dead_letter_record
from services.publishing.record_headers import mark_replayed
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS, RecordMapper, get_sequence

RECORDS_MAX = 5_000
BYTES_MAX = 4 << 20
BYTES_PER_SHARD_MAX = 1 << 20
# Others get their turn meanwhile: the transaction before is being sent.
ROWS_PER_YIELD = 500
# About what the headers of a record take.
HEADER_BYTES_ESTIMATE = 512
Json: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class PendingTransaction:
    """What one transaction takes, and the progress before and after it."""

    rows: list[FeedRow]
    records: list[OutgoingRecord]
    previous_progress: RelayProgress
    progress: RelayProgress


class TransactionBuilder:
    """Reads ahead of the progress, and keeps what was read: the log only grows, so rows stay what they are.

    ``published``: the live number that each shard had come to at the progress of ``events``. Topics of published grades
    go along with the events; one that is filled again reads its own rows until it has caught up with them.
    """

    def __init__(
        self, feed_reader: FeedReader, record_mapper: RecordMapper, progress: RelayProgress, live_numbers: Sequence[int]
    ) -> None:
        self._feed_reader = feed_reader
        self._record_mapper = record_mapper
        self._progress = progress
        self._built_sequences = {output: list(numbers) for output, numbers in progress.sequences.items()}
        self._read_sequences = {output: list(numbers) for output, numbers in progress.sequences.items()}
        self._live_numbers = list(live_numbers)
        self._queue: deque[tuple[Sequence[str], FeedRow]] = deque()

    async def next(self) -> PendingTransaction | None:
        """What the next transaction takes; None if nothing waits."""
        await self._read_ahead()
        return await self._build_transaction() if self._queue else None

    async def next_if_full(self) -> PendingTransaction | None:
        """The same while another transaction is under way: what is less than a full one can still grow."""
        await self._read_ahead()
        return await self._build_transaction() if len(self._queue) >= RECORDS_MAX else None

    async def _read_ahead(self) -> None:
        """Read what is new, unless there is enough for a transaction already."""
        if len(self._queue) >= RECORDS_MAX:
            return
        heads = await self._feed_reader.heads(ALL_SHARDS)
        for output in GRADE_CHANGE_BUILDERS:
            self._queue.extend(((output,), row) for row in await self._read_feed(output, self._live_numbers))
        for row in await self._read_feed("events", heads["events"]):
            self._queue.append((self._get_outputs(row), row))
        for output in ("verdicts", "dead-letters"):
            self._queue.extend(((output,), row) for row in await self._read_feed(output, heads[FEED_BY_TOPIC[output]]))

    async def _read_feed(self, output: str, last_sequences: Sequence[int]) -> list[FeedRow]:
        """The next rows of a topic up to the numbers ``last``, from all shards alike."""
        read_sequences = self._read_sequences[output]
        shards = [shard for shard in ALL_SHARDS if read_sequences[shard] < last_sequences[shard]]
        if not shards:
            return []
        after, until = [read_sequences[shard] for shard in shards], [last_sequences[shard] for shard in shards]
        feed, rows_max = FEED_BY_TOPIC[output], max(RECORDS_MAX // len(shards), 1)
        rows = await self._feed_reader.read(feed, shards, after, until, rows_max, BYTES_PER_SHARD_MAX)
        for row in rows:
            read_sequences[row.shard] = get_sequence(output, row)
        return rows

    def _get_outputs(self, row: FeedRow) -> Sequence[str]:
        """The topics that an event goes to now: those of published grades unless they are behind, or had it already."""
        if not isinstance(row, EventRow) or row.live_number is None:
            return ("events",)
        self._live_numbers[row.shard] = row.live_number
        caught_up_outputs = [
            output for output in GRADE_CHANGE_BUILDERS if self._read_sequences[output][row.shard] == row.live_number - 1
        ]
        for output in caught_up_outputs:
            self._read_sequences[output][row.shard] = row.live_number
        return ("events", *caught_up_outputs)

    async def _build_transaction(self) -> PendingTransaction:
        """The next transaction: at most RECORDS_MAX records or BYTES_MAX, and always one row."""
        taken_rows: list[FeedRow] = []
        records: list[OutgoingRecord] = []
        size = 0
        self._record_mapper.hint_upcoming([row for _, row in self._queue])
        while self._queue and size <= BYTES_MAX and len(records) < RECORDS_MAX:
            outputs, row = self._queue.popleft()
            metadata = orjson.loads(row.metadata) if isinstance(row, EventRow) else {}
            for output in outputs:
                record = await self._build_record(output, row, metadata)
                sequence = self._built_sequences[output][row.shard] = get_sequence(output, row)
                if self._progress.replays and sequence <= self._progress.replay_end(output, row.shard):
                    record = mark_replayed(record)
                records.append(record)
                size += len(record.value or b"") + HEADER_BYTES_ESTIMATE
            taken_rows.append(row)
            if len(taken_rows) % ROWS_PER_YIELD == 0:
                await asyncio.sleep(0)
        previous_progress, self._progress = self._progress, self._next_progress()
        return PendingTransaction(taken_rows, records, previous_progress, self._progress)

    async def _build_record(self, output: str, row: FeedRow, metadata: Json) -> OutgoingRecord:
        match row:
            case VerdictRow():
                return self._record_mapper.map_verdict(row)
            case EventRow() if output == "events":
                return self._record_mapper.map_event(row, metadata)
            case EventRow():
                return await self._record_mapper.map_grade_change(output, row, metadata)
            case DeadLetterRow():
                return build_dead_letter_record(row)

    def _next_progress(self) -> RelayProgress:
        """The progress after what was taken. A topic that has caught up with where it had been is replayed no more."""
        sequences = {output: tuple(numbers) for output, numbers in self._built_sequences.items()}
        next_progress = RelayProgress(sequences, self._progress.replays)
        replaying_outputs = [
            output
            for output in next_progress.replays
            if any(next_progress.is_replaying(output, shard) for shard in ALL_SHARDS)
        ]
        return RelayProgress(sequences, {output: next_progress.replays[output] for output in replaying_outputs})
