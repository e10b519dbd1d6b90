"""One batch of records to one append: look up, answer repeats, decide the rest in order, encode, append."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import asyncpg

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_decider import CONFIGURE, BatchDecider, IncomingCommand, NewStreamIds, Record, parse_record
from services.commands.batch_result import BatchResult
from services.commands.parse import ParsedCommand
from services.commands.state_cache import ENTRIES_MAX, StateCache
from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command

# Courses and assignments that one transaction of a batch reads at the most: of a large class each takes megabytes.
READ_AT_ONCE_MAX = 200


class ConcurrentAppend(Exception):
    """Records of the batch were decided by somebody else meanwhile: the batch is to be looked at again."""


class CommandProcessor:
    """Decides batches for one subscriber, over one connection, with the states it holds.

    ``authority``: judges who sent a record; None believes everybody. ``entries_max``: see States.
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
        """Give every record its verdict or its dead letter, and say what became of them.

        In one transaction, unless more assignments must be read for it than are to be in memory at once. Optimistic
        first; where somebody else has written since the look, everything is decided again under the locks.
        Raises what PostgreSQL raises when it is away; nothing more is then settled and nothing is held.
        """
        if self.authorizer is not None:
            await self.authorizer.prefetch_keys(records)
        result = BatchResult(Counter(), Counter())
        try:
            for part in self._split([parse_record(record, self.live_events_shard) for record in records]):
                result.add(await self._process_part(part))
        except BaseException:
            self.state_cache.clear()
            raise
        return result

    def _split(self, incoming_commands: Sequence[IncomingCommand]) -> Iterator[list[IncomingCommand]]:
        """A batch, cut where it needs more streams that are not held than may be read at once."""
        part: list[IncomingCommand] = []
        uncached: set[tuple[int, int, int | None]] = set()
        for incoming in incoming_commands:
            if isinstance(incoming.parse_result, ParsedCommand) and (
                newly_uncached := self._find_uncached_streams(incoming.parse_result.command)
            ):
                uncached.update(newly_uncached)
                if len(uncached) > READ_AT_ONCE_MAX and part:
                    yield part
                    part, uncached = [], set(newly_uncached)
            part.append(incoming)
        yield part

    def _find_uncached_streams(self, command: Command) -> list[tuple[int, int, int | None]]:
        """Root account, course and assignment (None: the course itself) of what a command needs and is not held."""
        root_account_id, course_id, assignment_id = command.root_account_id, command.course_id, command.assignment_id
        uncached: list[tuple[int, int, int | None]] = []
        if (root_account_id, course_id) not in self.state_cache.courses:
            uncached.append((root_account_id, course_id, None))
        if assignment_id is not None and (root_account_id, assignment_id) not in self.state_cache.assignments:
            uncached.append((root_account_id, course_id, assignment_id))
        return uncached

    async def _process_part(self, incoming_commands: Sequence[IncomingCommand]) -> BatchResult:
        shards = sorted({incoming.shard for incoming in incoming_commands})
        result = await self._attempt(incoming_commands, shards)
        if result is None:
            self.state_cache.clear()
            async with self.event_store.connection.transaction():
                await self.event_store.lock(shards)
                result = await self._attempt(incoming_commands, shards)
                if result is None:
                    raise ConcurrentAppend
            result.attempts = 2
        return result

    async def _attempt(self, incoming_commands: Sequence[IncomingCommand], shards: Sequence[int]) -> BatchResult | None:
        """Look, decide, append. None where somebody else wrote meanwhile."""
        batch_context = await self.event_store.read_batch_context(
            shards, {incoming.command_key[0] for incoming in incoming_commands if incoming.command_key is not None}
        )
        first_offsets: dict[int, int] = {}
        for incoming in incoming_commands:
            first_offsets.setdefault(incoming.record.partition, incoming.record.offset)
        append_batch = AppendBatch(self.incarnation, batch_context.decided_at, batch_context.heads, first_offsets)
        self.state_cache.drop_stale({shard: head.position for shard, head in batch_context.heads.items()})
        await self.state_cache.load(
            self.event_store,
            [
                incoming.parse_result.command
                for incoming in incoming_commands
                if isinstance(incoming.parse_result, ParsedCommand)
            ],
        )
        new_stream_ids = await self._reserve_stream_ids(incoming_commands)
        decider = BatchDecider(
            self.state_cache, append_batch, batch_context.first_verdicts, new_stream_ids, self.authorizer
        )
        for incoming in incoming_commands:
            decider.decide_record(incoming)
        started_at = time.monotonic()
        try:
            if not await self.event_store.append(append_batch):
                return None
        except asyncpg.UniqueViolationError:
            # A writer of another shard took a command id or an assignment id of this batch.
            return None
        append_seconds = time.monotonic() - started_at
        for shard, counts in append_batch.new_counts.items():
            self.state_cache.positions[shard] = append_batch.heads[shard].position + counts.position
        self.state_cache.evict_lru()
        dead_letters = Counter(reason for *_, reason, _ in append_batch.dead_letters)
        return BatchResult(decider.outcomes, dead_letters, append_seconds)

    async def _reserve_stream_ids(self, incoming_commands: Sequence[IncomingCommand]) -> NewStreamIds:
        """A number and a secret for every stream that this batch may create."""
        new_streams: dict[tuple[int, int, int | None], None] = {}
        for incoming in incoming_commands:
            if not isinstance(incoming.parse_result, ParsedCommand):
                continue
            command = incoming.parse_result.command
            root_account_id, course_id, assignment_id = (
                command.root_account_id,
                command.course_id,
                command.assignment_id,
            )
            if command.type not in ASSIGNMENT_COMMANDS and (root_account_id, course_id) not in self.state_cache.courses:
                new_streams[root_account_id, course_id, None] = None
            if command.type == CONFIGURE and (root_account_id, assignment_id or 0) not in self.state_cache.assignments:
                new_streams[root_account_id, course_id, assignment_id] = None
        stream_ids = await self.event_store.reserve_stream_numbers(len(new_streams)) if new_streams else []
        return dict(zip(new_streams, stream_ids, strict=True))
