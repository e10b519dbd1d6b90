"""Process a batch of records in six steps: parse, authorize, deduplicate, decide, serialize, append."""

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_result import BatchResult
from services.commands.batch_writer import BatchWriter
from services.commands.command_state import StreamName
from services.commands.decision import decide_command
from services.commands.deduplication import deduplicate
from services.commands.incoming_command import IncomingCommand, IncomingDeadLetter, IncomingRecord, Record, parse_record
from services.commands.parse import InvalidCommand
from services.commands.serialization import serialize
from services.commands.state_cache import ENTRIES_MAX, StateCache
from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore
from services.kafka.partitioning import group_by_partition
from services.moderation.commands import Command

# Streams that one transaction reads at most: one of a large class takes megabytes.
READ_AT_ONCE_MAX = 200
Records = Sequence[IncomingRecord]


class ConcurrentAppend(Exception):
    """Another writer processed records of the batch: nothing was appended, and the batch must be fetched again."""


class CommandProcessor:
    """Processes the batches of one subscriber, over one connection and with a cache of its own.

    ``authorizer``: None accepts every sender.
    """

    def __init__(
        self,
        event_store: EventStore,
        incarnation: int,
        authorizer: CommandAuthorizer | None = None,
        entries_max: int = ENTRIES_MAX,
        live_events_shard: int | None = None,
    ) -> None:
        self.event_store = event_store
        self.incarnation = incarnation
        self.authorizer = authorizer
        self.live_events_shard = live_events_shard
        self.state_cache = StateCache(entries_max)

    async def process(self, records: Sequence[Record]) -> BatchResult:
        """Append a verdict or a dead letter for every record, and the events of the accepted commands.

        In one transaction, unless the batch needs more streams than may be read at once. Each is optimistic first: if
        another writer has appended since the batch was loaded, it is decided again under the locks of its shards.

        Raises:
            ConcurrentAppend: nothing was appended in the last transaction.
            POSTGRES_ERRORS: PostgreSQL is away; the outcome of the last transaction is unknown.
        """
        try:
            return await self._process(records)
        except BaseException:
            self.state_cache.clear()
            raise

    async def _process(self, records: Sequence[Record]) -> BatchResult:
        incoming_records: Records = [parse_record(record, self.live_events_shard) for record in records]
        if self.authorizer is not None:
            incoming_records = await self.authorizer.authorize(incoming_records)
        result = BatchResult()
        for part in self._split(incoming_records):
            for attempt, isolate in enumerate((self._optimistically, self._under_locks), 1):
                async with isolate(part):
                    batch = await self._load(part)
                    for incoming in _select_commands(part):
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
            self.state_cache.evict_lru()
        return result

    def _split(self, incoming_records: Records) -> Iterator[Records]:
        """Cut a batch where it needs more uncached streams than may be read at once."""
        part: list[IncomingRecord] = []
        uncached: set[StreamName] = set()
        for incoming in incoming_records:
            if isinstance(incoming, IncomingCommand) and not isinstance(incoming.command, InvalidCommand):
                newly_uncached = self.state_cache.find_uncached_streams(incoming.command)
                uncached.update(newly_uncached)
                if len(uncached) > READ_AT_ONCE_MAX and part:
                    yield part
                    part, uncached = [], set(newly_uncached)
            part.append(incoming)
        yield part

    @contextlib.asynccontextmanager
    async def _optimistically(self, part: Records) -> AsyncIterator[None]:
        yield

    @contextlib.asynccontextmanager
    async def _under_locks(self, part: Records) -> AsyncIterator[None]:
        self.state_cache.clear()
        async with self.event_store.connection.transaction():
            await self.event_store.lock(_get_shards(part))
            yield

    async def _load(self, part: Records) -> BatchWriter:
        """Read what the decisions depend on: time, heads, first verdicts, streams, and ids for new streams."""
        context = await self.event_store.read_batch_context(
            _get_shards(part), {incoming.command.command_id for incoming in _select_commands(part)}
        )
        self.state_cache.drop_stale({shard: head.position for shard, head in context.heads.items()})
        commands = _select_valid_commands(part)
        await self.state_cache.load(self.event_store, commands)
        await self.state_cache.reserve_stream_ids(self.event_store, commands)
        by_partition = group_by_partition(incoming.record for incoming in part)
        first_offsets = {partition: records[0].offset for partition, records in by_partition.items()}
        rows = AppendBatch(self.incarnation, context.decided_at, context.heads, first_offsets)
        batch = BatchWriter(rows, context.first_verdicts, self.state_cache)
        for incoming in part:
            if isinstance(incoming, IncomingDeadLetter):
                batch.add_dead_letter(incoming)
        return batch


def _select_commands(part: Records) -> list[IncomingCommand]:
    return [incoming for incoming in part if isinstance(incoming, IncomingCommand)]


def _select_valid_commands(part: Records) -> list[Command]:
    return [incoming.command for incoming in _select_commands(part) if not isinstance(incoming.command, InvalidCommand)]


def _get_shards(part: Records) -> list[int]:
    return sorted({incoming.shard for incoming in part})
