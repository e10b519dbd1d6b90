"""One batch of records to one append: look up, answer repeats, decide the rest in order, encode, append."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import asyncpg

from services.commands.authorization import Authority
from services.commands.batch_decider import CONFIGURE, Decisions, Fresh, Item, Record, read
from services.commands.batch_result import Settled
from services.commands.parse import Parsed
from services.commands.state_cache import ENTRIES_MAX, States
from services.eventlog.append_batch import Batch
from services.eventlog.store import Log
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command

# Courses and assignments that one transaction of a batch reads at the most: of a large class each takes megabytes.
READ_AT_ONCE_MAX = 200


class Moved(Exception):
    """Records of the batch were decided by somebody else meanwhile: the batch is to be looked at again."""


class Deciding:
    """Decides batches for one subscriber, over one connection, with the states it holds.

    ``authority``: judges who sent a record; None believes everybody. ``entries_max``: see States.
    """

    def __init__(
        self, log: Log, source: int, authority: Authority | None = None, entries_max: int = ENTRIES_MAX
    ) -> None:
        self.log = log
        self.source = source
        self.authority = authority
        self.states = States(entries_max)

    async def settle(self, records: Sequence[Record]) -> Settled:
        """Give every record its verdict or its dead letter, and say what became of them.

        In one transaction, unless more assignments must be read for it than are to be in memory at once. Optimistic
        first; where somebody else has written since the look, everything is decided again under the locks.
        Raises what PostgreSQL raises when it is away; nothing more is then settled and nothing is held.
        """
        if self.authority is not None:
            await self.authority.prepare(records)
        settled = Settled(Counter(), Counter())
        try:
            for part in self._parts([read(record) for record in records]):
                settled.add(await self._settle(part))
        except BaseException:
            self.states.clear()
            raise
        return settled

    def _parts(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """A batch, cut where it needs more streams that are not held than may be read at once."""
        part: list[Item] = []
        absent: set[tuple[int, int, int | None]] = set()
        for item in items:
            if isinstance(item.said, Parsed) and (new := self._absent(item.said.command)):
                absent.update(new)
                if len(absent) > READ_AT_ONCE_MAX and part:
                    yield part
                    part, absent = [], set(new)
            part.append(item)
        yield part

    def _absent(self, command: Command) -> list[tuple[int, int, int | None]]:
        """Root account, course and assignment (None: the course itself) of what a command needs and is not held."""
        root, course, assignment = command.root_account_id, command.course_id, command.assignment_id
        absent: list[tuple[int, int, int | None]] = []
        if (root, course) not in self.states.courses:
            absent.append((root, course, None))
        if assignment is not None and (root, assignment) not in self.states.assignments:
            absent.append((root, course, assignment))
        return absent

    async def _settle(self, items: Sequence[Item]) -> Settled:
        shards = sorted({item.shard for item in items})
        settled = await self._attempt(items, shards)
        if settled is None:
            self.states.clear()
            async with self.log.connection.transaction():
                await self.log.lock(shards)
                settled = await self._attempt(items, shards)
                if settled is None:
                    raise Moved
            settled.attempts = 2
        return settled

    async def _attempt(self, items: Sequence[Item], shards: Sequence[int]) -> Settled | None:
        """Look, decide, append. None where somebody else wrote meanwhile."""
        looked_up = await self.log.look_up(shards, {item.key[0] for item in items if item.key is not None})
        first_offsets: dict[int, int] = {}
        for item in items:
            first_offsets.setdefault(item.record.partition, item.record.offset)
        batch = Batch(self.source, looked_up.at, looked_up.heads, first_offsets)
        self.states.trust({shard: head.position for shard, head in looked_up.heads.items()})
        await self.states.load(self.log, [item.said.command for item in items if isinstance(item.said, Parsed)])
        fresh = await self._draw_new_streams(items)
        deciding = Decisions(self.states, batch, looked_up.settled, fresh, self.authority)
        for item in items:
            deciding.settle(item)
        begun = time.monotonic()
        try:
            if not await self.log.append(batch):
                return None
        except asyncpg.UniqueViolationError:
            # A writer of another shard took a command id or an assignment id of this batch.
            return None
        append_seconds = time.monotonic() - begun
        for shard, drawn in batch.drawn.items():
            self.states.positions[shard] = batch.heads[shard].position + drawn.position
        self.states.forget_oldest()
        dead_letters = Counter(reason for *_, reason, _ in batch.dead_letters)
        return Settled(deciding.outcomes, dead_letters, append_seconds)

    async def _draw_new_streams(self, items: Sequence[Item]) -> Fresh:
        """A number and a secret for every stream that this batch may create."""
        absent: dict[tuple[int, int, int | None], None] = {}
        for item in items:
            if not isinstance(item.said, Parsed):
                continue
            command = item.said.command
            root, course, assignment = command.root_account_id, command.course_id, command.assignment_id
            if command.type not in ASSIGNMENT_COMMANDS and (root, course) not in self.states.courses:
                absent[root, course, None] = None
            if command.type == CONFIGURE and (root, assignment or 0) not in self.states.assignments:
                absent[root, course, assignment] = None
        drawn = await self.log.draw_stream_numbers(len(absent)) if absent else []
        return dict(zip(absent, drawn, strict=True))
