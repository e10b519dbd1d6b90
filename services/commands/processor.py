"""Process a batch of records in six steps: parse, authorize, deduplicate, decide, serialize, append."""

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

import asyncpg

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_limits import BatchLimits, BatchMeter, give_way
from services.commands.batch_result import BatchResult
from services.commands.batch_writer import BatchWriter
from services.commands.decision import decide_command
from services.commands.deduplication import deduplicate
from services.commands.incoming_command import IncomingCommand, IncomingDeadLetter, IncomingRecord, Record, parse_record
from services.commands.parse import InvalidCommand
from services.commands.sealing import find_person_to_erase, recognize_repeated_commands
from services.commands.serialization import EVENTS_PER_STEP, SerializedCommand, serialize, serialize_in_steps
from services.commands.state_cache import BYTES_MAX, StateCache
from services.commands.stream_reading import StreamKey
from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore
from services.moderation.commands import Command
from services.moderation.decisions import Accepted

# Streams that one transaction may read: one of a large class takes megabytes.
READ_AT_ONCE_MAX = 200
SECRET_BYTES = 16
Records = Sequence[IncomingRecord]
LOGGER = logging.getLogger(__name__)


class ConcurrentAppend(Exception):
    """The log has changed since the batch was decided: nothing was appended, and the batch must be fetched again.

    Another writer processed records of the batch, or a failover or restore lost records processed before it.
    """


class CommandProcessor:
    """Processes the batches of one subscriber over one connection, with its own cache.

    ``shard_count``: of the installation; ``authorizer``: None accepts every sender. ``snapshot_events``: the events
    from which on an assignment has a snapshot, 0 for never. ``give_way`` is awaited when deciding takes long.
    """

    def __init__(
        self,
        event_store: EventStore,
        incarnation: int,
        shard_count: int,
        authorizer: CommandAuthorizer | None = None,
        cache_bytes_max: int = BYTES_MAX,
        live_events_shard: int | None = None,
        limits: BatchLimits | None = None,
        snapshot_events: int = 0,
        give_way: Callable[[], Awaitable[None]] = give_way,
    ) -> None:
        self.event_store = event_store
        self.incarnation = incarnation
        self.shard_count = shard_count
        self.authorizer = authorizer
        self.live_events_shard = live_events_shard
        self.state_cache = StateCache(cache_bytes_max, snapshot_events)
        # Taken from the sequence, and not yet used by an appended stream.
        self._stream_numbers: list[int] = []
        self._limits = limits or BatchLimits()
        self._give_way = give_way

    async def process(self, records: Sequence[Record], watermarks: dict[int, int]) -> BatchResult:
        """Append a verdict or a dead letter for every record, and the events of the accepted commands.

        There is one transaction, unless the batch needs more streams than may be read at once. Each is optimistic at
        first: if another writer has appended since the batch was loaded, it is decided again under the locks of its
        shards. The transaction that reaches a limit, or the end of what was read, is the last one: the result names the
        records that were left.

        ``watermarks``: by partition, the highest processed offset before these records (-1: none), as read from the
        log: it does not follow from offsets, because a topic has gaps. If the log's watermark has changed since,
        nothing is appended. They are moved past the appended records, even if a later transaction fails.

        Raises:
            ConcurrentAppend: nothing was appended in the last transaction.
            ClocksDiffer: PostgreSQL's clock or this process's is wrong; nothing was appended in the last transaction.
            POSTGRES_ERRORS: PostgreSQL is away; the outcome of the last transaction is unknown.
        """
        try:
            return await self._process(records, watermarks)
        except BaseException:
            self.state_cache.clear()
            raise

    async def _process(self, records: Sequence[Record], watermarks: dict[int, int]) -> BatchResult:
        incoming_records: Records = [
            parse_record(record, self.shard_count, self.live_events_shard) for record in records
        ]
        if self.authorizer is not None:
            incoming_records = await self.authorizer.authorize(incoming_records)
        result, processed_count = BatchResult(), 0
        for part in self._split(incoming_records):
            part_result, part_count = await self._process_part(part, watermarks)
            result.add(part_result)
            processed_count += part_count
            await self._write_snapshots()
            self.state_cache.evict_lru()
            if part_count < len(part):
                result.deferred = records[processed_count:]
                result.heaviest_partition = part_result.heaviest_partition
                break
        return result

    async def _process_part(self, part: Records, watermarks: dict[int, int]) -> tuple[BatchResult, int]:
        """Append in one transaction; return its result, and how many records it has processed."""
        shards = sorted({incoming.shard for incoming in part})
        part_watermarks = {incoming.record.partition: watermarks[incoming.record.partition] for incoming in part}
        for attempt, isolate in enumerate((self._optimistically, self._under_locks), 1):
            async with isolate(shards):
                batch = await self._load(part, shards, part_watermarks)
                meter = BatchMeter(batch, self._limits, self._give_way)
                count = await self._decide(part, batch, meter)
                appended = await batch.append(self.event_store)
                self._keep_unused_stream_numbers(batch, appended)
            if appended:
                # A failure is the connection's, which the next query reports: readers find the rows a little later.
                with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                    await self.event_store.notify_appended(shards)
                watermarks |= {incoming.record.partition: incoming.record.offset for incoming in part[:count]}
                result = batch.build_result(attempt)
                result.heaviest_partition = meter.heaviest_partition
                return result, count
        raise ConcurrentAppend

    async def _decide(self, part: Records, batch: BatchWriter, meter: BatchMeter) -> int:
        """Decide records in order until the batch is full; return their number."""
        for count, incoming in enumerate(part, 1):
            if isinstance(incoming, IncomingDeadLetter):
                batch.add_dead_letter(incoming)
            elif not (batch.is_complete or batch.is_loaded(incoming)):
                return count - 1
            else:
                state = self.state_cache.get_state(incoming.command, incoming.shard)
                decision = (
                    incoming.rejection
                    or deduplicate(incoming, batch.first_verdicts)
                    or decide_command(incoming, state, batch.decided_at, batch.has_personal_data(incoming.command))
                )
                serialized: SerializedCommand
                if isinstance(decision, Accepted) and len(decision.events) > EVENTS_PER_STEP:
                    serialized = await serialize_in_steps(
                        incoming, decision, state, batch.decided_at_text, self._give_way
                    )
                else:
                    serialized = serialize(incoming, decision, state, batch.decided_at_text)
                batch.add(incoming, serialized, state)
            if meter.is_full(incoming.record.partition):
                return count
            if meter.is_slow:
                await meter.give_way()
        return len(part)

    async def _write_snapshots(self) -> None:
        for snapshot in self.state_cache.take_snapshots():
            try:
                await self.event_store.write_snapshot(snapshot)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
                # The batch is appended. If the connection is lost, the next query reports it.
                LOGGER.warning(
                    "no snapshot of stream %d was written (%s): its events are read again after the next start",
                    snapshot.stream,
                    type(error).__name__,
                )

    def _split(self, incoming_records: Records) -> Iterator[Records]:
        """Split a batch that needs more uncached streams than may be read at once."""
        if len(self.state_cache.find_uncached_streams(_select_valid(incoming_records))) <= READ_AT_ONCE_MAX:
            yield incoming_records
            return
        part: list[IncomingRecord] = []
        uncached: set[tuple[str, StreamKey]] = set()
        for incoming in incoming_records:
            newly_uncached = self.state_cache.find_uncached_streams(_select_valid([incoming]))
            if part and len(uncached | newly_uncached) > READ_AT_ONCE_MAX:
                yield part
                part, uncached = [], set()
            part.append(incoming)
            uncached |= newly_uncached
        yield part

    @contextlib.asynccontextmanager
    async def _optimistically(self, shards: Sequence[int]) -> AsyncIterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def _under_locks(self, shards: Sequence[int]) -> AsyncIterator[None]:
        self.state_cache.clear()
        async with self.event_store.connection.transaction():
            await self.event_store.lock(shards)
            yield

    async def _load(self, part: Records, shards: Sequence[int], watermarks: dict[int, int]) -> BatchWriter:
        """Read what the decisions depend on: time, heads, first verdicts, streams, and ids for new streams."""
        commands = [incoming for incoming in part if isinstance(incoming, IncomingCommand)]
        command_ids = {incoming.command.command_id for incoming in commands}
        context = await self.event_store.read_batch_context(shards, command_ids)
        self.state_cache.drop_stale({shard: head.position for shard, head in context.heads.items()})
        new_streams = await self.state_cache.load(self.event_store, _select_valid(part))
        self.state_cache.assign_stream_ids(new_streams, await self._take_stream_ids(len(new_streams)))
        rows = AppendBatch(self.incarnation, context.decided_at, context.heads, watermarks)
        encryption_keys = self.event_store.encryption_keys
        first_verdicts = context.first_verdicts
        await recognize_repeated_commands(encryption_keys, commands, first_verdicts)
        repeated = [incoming for incoming in commands if incoming.command_key in first_verdicts]
        await self.event_store.load_first_verdicts(
            first_verdicts,
            [n.command_key for n in repeated if first_verdicts[n.command_key].content_hash == n.content_hash],
            self._limits.size_max,
        )
        persons = [person for incoming in commands if (person := find_person_to_erase(incoming.command)) is not None]
        persons_with_data = await encryption_keys.of_persons(persons)
        return BatchWriter(rows, first_verdicts, self.state_cache, persons_with_data, may_erase=bool(persons))

    async def _take_stream_ids(self, count: int) -> list[tuple[int, bytes]]:
        """Take numbers for new streams, each with a random secret of 16 bytes."""
        missing_count = count - len(self._stream_numbers)
        if missing_count > 0:
            self._stream_numbers += await self.event_store.draw_stream_numbers(missing_count)
        numbers, self._stream_numbers = self._stream_numbers[:count], self._stream_numbers[count:]
        return [(number, secrets.token_bytes(SECRET_BYTES)) for number in numbers]

    def _keep_unused_stream_numbers(self, batch: BatchWriter, appended: bool) -> None:
        """Keep the numbers that no appended stream uses for the next batch: most were taken for refused commands.

        After an error they are dropped, because the batch may have been appended.
        """
        numbers = {stream_id.number for stream_id in self.state_cache.new_stream_ids.values()}
        if appended:
            numbers -= batch.new_stream_numbers
        if batch.has_taken_stream_numbers:
            numbers, self._stream_numbers = set(), []
        self._stream_numbers = [*sorted(numbers), *self._stream_numbers]
        self.state_cache.assign_stream_ids([], [])


def _select_valid(incoming_records: Records) -> list[Command]:
    return [
        incoming.command
        for incoming in incoming_records
        if isinstance(incoming, IncomingCommand) and not isinstance(incoming.command, InvalidCommand)
    ]
