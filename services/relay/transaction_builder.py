"""Builds the relay's Kafka transactions: the next rows of the log as records, and the progress that they make."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.eventlog.feeds import EventRow, FeedReader, FeedRow
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.publishing.record_headers import mark_replayed, parse_headers
from services.publishing.record_mapper import RecordMapper, get_sequence
from services.publishing.topic_ends import get_record_id
from services.relay.feed_queue import FeedQueue

RECORDS_MAX = 5_000
BYTES_MAX = 4 << 20
HEADER_BYTES_ESTIMATE = 512
# Mapping blocks the event loop, on which the previous transaction is being sent.
ROWS_PER_YIELD = 500


@dataclass(slots=True)
class PendingTransaction:
    """The records of one transaction, and the progress before and after it.

    ``new_events``: by output, the events whose record there is no repeated one of a replay.
    """

    new_events: dict[str, list[EventRow]]
    records: list[OutgoingRecord]
    previous_progress: RelayProgress
    progress: RelayProgress


class TransactionBuilder:
    """Builds one transaction after another from the relay's progress on.

    ``live_numbers``: by shard, the live number of the last event at the progress of ``events`` (0: none).
    """

    def __init__(
        self,
        feed_reader: FeedReader,
        record_mapper: RecordMapper,
        progress: RelayProgress,
        live_numbers: Mapping[int, int],
        records_max: int = RECORDS_MAX,
    ) -> None:
        self._queue = FeedQueue(feed_reader, progress, live_numbers, records_max)
        self._record_mapper = record_mapper
        self._records_max = records_max
        self._progress = progress
        # By output and shard, the sequence number of the last record that was built: the next progress.
        self._last_built = {output: list(sequences) for output, sequences in progress.sequences.items()}
        self._last_ids = {
            output: [progress.last_id(output, shard) for shard in range(len(sequences))]
            for output, sequences in progress.sequences.items()
        }

    @property
    def progress(self) -> RelayProgress:
        """The progress after the last transaction that was built."""
        return self._progress

    async def next(self) -> PendingTransaction | None:
        """Build the next transaction; None if the log has no new rows."""
        await self._queue.fill()
        return await self._build() if self._queue.rows else None

    async def next_if_full(self) -> PendingTransaction | None:
        """Build the next transaction only if it is full: while another one is being sent, a smaller one can grow."""
        await self._queue.fill()
        return await self._build() if len(self._queue.rows) >= self._records_max else None

    async def _build(self) -> PendingTransaction:
        """Take rows from the queue until the transaction is full; always one, however large it is."""
        new_events: dict[str, list[EventRow]] = {}
        row_count = 0
        records: list[OutgoingRecord] = []
        last_rows: dict[tuple[str, int], tuple[FeedRow, OutgoingRecord]] = {}
        size = 0
        queue, replays, map_stored_row = self._queue.rows, self._progress.replays, self._record_mapper.map_stored_row
        self._record_mapper.hint_upcoming([row for row, _ in queue])
        while queue and size <= BYTES_MAX and len(records) < self._records_max:
            row, outputs = queue.popleft()
            row_records = [map_stored_row(row)] if not outputs else await self._record_mapper.map_row(row, outputs)
            for record in row_records:
                output = record.topic
                if replays and get_sequence(output, row) <= self._progress.replay_end(output, row.shard):
                    record = mark_replayed(record)
                elif isinstance(row, EventRow):
                    new_events.setdefault(output, []).append(row)
                records.append(record)
                last_rows[output, row.shard] = row, record
                size += _count_bytes(record)
            row_count += 1
            if row_count % ROWS_PER_YIELD == 0:
                await asyncio.sleep(0)
        previous_progress, self._progress = self._progress, self._advance_progress(last_rows)
        return PendingTransaction(new_events, records, previous_progress, self._progress)

    def _advance_progress(self, last_rows: Mapping[tuple[str, int], tuple[FeedRow, OutgoingRecord]]) -> RelayProgress:
        """Return the progress after the built transactions; an output at the end of its replay stops replaying."""
        for (output, shard), (row, record) in last_rows.items():
            self._last_built[output][shard] = get_sequence(output, row)
            self._last_ids[output][shard] = get_record_id(output, parse_headers(record.headers))
        sequences = {output: tuple(numbers) for output, numbers in self._last_built.items()}
        last_ids = {output: tuple(ids) for output, ids in self._last_ids.items()}
        progress = replace(self._progress, sequences=sequences, last_ids=last_ids)
        replays = {
            output: ends
            for output, ends in progress.replays.items()
            if any(progress.is_replaying(output, shard) for shard in progress.shards)
        }
        replay_end_ids = {output: ids for output, ids in progress.replay_end_ids.items() if output in replays}
        return replace(progress, replays=replays, replay_end_ids=replay_end_ids)


def _count_bytes(record: OutgoingRecord) -> int:
    """Count a record's bytes; headers of other records than dead letters are the relay's own, of limited length."""
    if record.topic == "dead-letters":
        return record.count_bytes()
    return len(record.key or b"") + len(record.value or b"") + HEADER_BYTES_ESTIMATE
