"""Process a batch of records in six steps: parse, authorize, deduplicate, decide, serialize, append."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_result import BatchResult
from services.commands.batch_writer import BatchWriter
from services.commands.decision import decide_command
from services.commands.deduplication import deduplicate
from services.commands.incoming_command import IncomingCommand, IncomingDeadLetter, IncomingRecord, Record, parse_record
from services.commands.parse import InvalidCommand
from services.commands.serialization import serialize
from services.commands.state_cache import ENTRIES_MAX, StateCache, StreamKey
from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore
from services.moderation.commands import Command

# Streams that one transaction reads at most: one of a large class takes megabytes.
READ_AT_ONCE_MAX = 200
Records = Sequence[IncomingRecord]


class ConcurrentAppend(Exception):
    """The log is not the one that the batch was decided on: nothing was appended, and it must be fetched again.

    Another writer processed records of the batch, or a failover or restore lost what was processed before it.
    """


class CommandProcessor:
    """Processes the batches of one subscriber, over one connection and with a cache of its own.

    ``shard_count``: of the installation; ``authorizer``: None accepts every sender.
    """

    def __init__(
        self,
        event_store: EventStore,
        incarnation: int,
        shard_count: int,
        authorizer: CommandAuthorizer | None = None,
        entries_max: int = ENTRIES_MAX,
        live_events_shard: int | None = None,
    ) -> None:
        self.event_store = event_store
        self.incarnation = incarnation
        self.shard_count = shard_count
        self.authorizer = authorizer
        self.live_events_shard = live_events_shard
        self.state_cache = StateCache(entries_max)

    async def process(self, records: Sequence[Record], watermarks: Mapping[int, int]) -> BatchResult:
        """Append a verdict or a dead letter for every record, and the events of the accepted commands.

        In one transaction, unless the batch needs more streams than may be read at once. Each is optimistic first: if
        another writer has appended since the batch was loaded, it is decided again under the locks of its shards.

        ``watermarks``: by partition, the highest processed offset before these records (-1: none), as the log gave it:
        offsets do not show it, because a topic has gaps. If the log has another one by now, nothing is appended.

        Raises:
            ConcurrentAppend: nothing was appended in the last transaction.
            POSTGRES_ERRORS: PostgreSQL is away; the outcome of the last transaction is unknown.
        """
        try:
            return await self._process(records, dict(watermarks))
        except BaseException:
            self.state_cache.clear()
            raise

    async def _process(self, records: Sequence[Record], watermarks: dict[int, int]) -> BatchResult:
        incoming_records: Records = [
            parse_record(record, self.shard_count, self.live_events_shard) for record in records
        ]
        if self.authorizer is not None:
            incoming_records = await self.authorizer.authorize(incoming_records)
        result = BatchResult()
        for part in self._split(incoming_records):
            shards = sorted({incoming.shard for incoming in part})
            commands = [incoming for incoming in part if isinstance(incoming, IncomingCommand)]
            last_offsets = {incoming.record.partition: incoming.record.offset for incoming in part}
            part_watermarks = {partition: watermarks[partition] for partition in last_offsets}
            for attempt, isolate in enumerate((self._optimistically, self._under_locks), 1):
                async with isolate(shards):
                    batch = await self._load(part, commands, shards, part_watermarks)
                    for incoming in commands:
                        state = self.state_cache.get_state(incoming.command, incoming.shard)
                        decision = (
                            incoming.rejection
                            or deduplicate(incoming, batch.first_verdicts)
                            or decide_command(incoming, state, batch.decided_at)
                        )
                        serialized = serialize(incoming, decision, state, batch.decided_at_text)
                        batch.add(incoming, serialized, state)
                    if await batch.append(self.event_store):
                        result.add(batch.build_result(attempt))
                        break
            else:
                raise ConcurrentAppend
            watermarks |= last_offsets
            self.state_cache.evict_lru()
        return result

    def _split(self, incoming_records: Records) -> Iterator[Records]:
        """Cut a batch where it needs more uncached streams than may be read at once."""
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

    async def _load(
        self, part: Records, commands: Sequence[IncomingCommand], shards: Sequence[int], watermarks: dict[int, int]
    ) -> BatchWriter:
        """Read what the decisions depend on: time, heads, first verdicts, streams, and ids for new streams."""
        command_ids = {incoming.command.command_id for incoming in commands}
        context = await self.event_store.read_batch_context(shards, command_ids)
        self.state_cache.drop_stale({shard: head.position for shard, head in context.heads.items()})
        new_streams = await self.state_cache.load(self.event_store, _select_valid(commands))
        new_ids = await self.event_store.reserve_stream_numbers(len(new_streams)) if new_streams else []
        self.state_cache.assign_stream_ids(new_streams, new_ids)
        rows = AppendBatch(self.incarnation, context.decided_at, context.heads, watermarks)
        batch = BatchWriter(rows, context.first_verdicts, self.state_cache)
        for incoming in part:
            if isinstance(incoming, IncomingDeadLetter):
                batch.add_dead_letter(incoming)
        return batch


def _select_valid(incoming_records: Records) -> list[Command]:
    return [
        incoming.command
        for incoming in incoming_records
        if isinstance(incoming, IncomingCommand) and not isinstance(incoming.command, InvalidCommand)
    ]
