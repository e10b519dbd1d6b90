"""Reads and appends for one writer over one connection."""

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.config.base import SettingsError
from services.eventlog.append_batch import AppendBatch, ShardHead
from services.eventlog.append_signal import notify_appended
from services.eventlog.clocks import verify_clock
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.first_verdicts import FirstVerdict, load_bodies
from services.eventlog.snapshots import RestoredState, Snapshot, find_snapshot, write_snapshot
from services.eventlog.stored_events import StoredEvent, read_events

# $1 shards, $2 command ids.
BATCH_CONTEXT = """
select clock_timestamp(),
       array(select row(h.shard, h.position, h.verdict_number, h.dead_letter_number,
                        (select e.recorded_at from event e where e.shard = h.shard and e.position = h.position))
             from heads($1::smallint[]) h),
       array(select row(c.root_account, c.command_id, c.content_hash,
                        exists (select from verdict_body v where v.shard = c.shard and v.number = c.number
                                                             and v.recorded_at = c.recorded_at))
             from decided_command c where c.command_id = any($2::uuid[]) and c.first)
"""
# $1 incarnation, $2 partitions.
WATERMARKS = "select p, watermark($1::smallint, p) from unnest($2::integer[]) p"
# $1 incarnation, $2 partition, $3-$4 offsets, both inclusive.
# Records before the beginning of a source were processed in an earlier one.
APPEND_TIMES = """
with of_topic as materialized (
    select array_agg(earlier.number) as sources, coalesce(max(current.beginnings[$2 + 1]), 0) as beginning
    from source current join source earlier on earlier.topic = current.topic and earlier.number <= current.number
    where current.number = $1
)
select r."offset", r.append_time from (
    select c.source, c."offset", c.append_time from decided_command c
    where c.source = any((select sources from of_topic)::smallint[])
          and c.partition = $2 and c."offset" between $3 and $4
    union all
    select d.source, d."offset", d.append_time from dead_letter d
    where d.source = any((select sources from of_topic)::smallint[])
          and d.partition = $2 and d."offset" between $3 and $4
) r
where r.source = $1 or r."offset" < (select beginning from of_topic) order by r.source
"""
# $1-$2 root accounts and assignments, $3-$4 root accounts and courses.
STREAMS = """
select s.number, s.root_account, s.course, s.assignment, s.shard
from unnest($1::bigint[], $2::bigint[]) k(root, assignment)
join stream s on s.root_account = k.root and s.assignment = k.assignment
union all
select s.number, s.root_account, s.course, s.assignment, s.shard
from unnest($3::bigint[], $4::bigint[]) k(root, course)
join stream s on s.root_account = k.root and s.course = k.course and s.assignment is null
"""
STREAMS_WITH_VERSIONS = f"""
select s.*, (select e.version from event e where e.stream = s.number order by e.version desc limit 1)
from ({STREAMS}) s
"""
LOCK_SHARDS = "select 1 from shard s where s.shard = any($1::smallint[]) order by s.shard for update"
# The highest number is that of before the numbers are drawn, of which even other writers' streams have lower ones.
DRAW_STREAM_NUMBERS = """
select array(select nextval('stream_number') from generate_series(1, $1)),
       (select coalesce(max(s.number), 0) from stream s)
"""
APPEND = "select append($1, $2, $3, $4, $5, $6, $7, $8, $9)"
START_INCARNATION = "insert into source (topic, reason, beginnings) values ($1, $2, $3) returning number"
CURRENT_INCARNATION = "select number from source where topic = $1 order by number desc limit 1"


@dataclass(frozen=True, slots=True)
class Stream:
    """The row of a stream; ``assignment`` is None for a course."""

    number: int
    root_account: int
    course: int
    assignment: int | None
    shard: int


@dataclass(frozen=True, slots=True)
class BatchContext:
    """The data that is read before a batch is decided.

    ``decided_at`` is PostgreSQL's clock in milliseconds, never earlier than the last event of the shards.
    ``first_verdicts`` has the first verdict of each settled command, by (command id, root account), without its body.
    """

    decided_at: datetime
    heads: dict[int, ShardHead]
    first_verdicts: dict[tuple[str, int], FirstVerdict]


# Too large for an index or a message, out of a type's range, against a constraint.
UNSTORABLE_ERRORS = (
    asyncpg.ProgramLimitExceededError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
)


# PostgreSQL states a limit of its own by ProgramLimitExceededError, too: it has run out of transaction ids. These name
# it in every language.
SERVER_LIMIT_SOURCES = ("varsup.c", "multixact.c")


class UnstorableRows(Exception):
    """PostgreSQL refuses a row for what it contains: waiting does not help. Argument: the name of its error."""

    def __str__(self) -> str:
        return f"PostgreSQL refuses a row for what it contains: {self.args[0]}"


class StreamNumbersBehind(SettingsError):
    """The sequence of stream numbers was set to numbers that streams have; the message has the remedy."""


class EventStore:
    """The log over one connection. Every method may raise POSTGRES_ERRORS.

    ``clock_difference_max``: in seconds, None for any; ``clock`` returns the caller's, in seconds since 1970.
    """

    def __init__(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        clock_difference_max: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.connection = connection
        self.encryption_keys = EncryptionKeys(connection)
        self._clock_difference_max = clock_difference_max
        self._clock = clock

    async def read_batch_context(self, shards: Sequence[int], command_ids: Iterable[str]) -> BatchContext:
        """Read time, heads and settled command ids in one query. Raises ClocksDiffer."""
        asked_at = self._clock()
        row = await self.connection.fetchrow(BATCH_CONTEXT, shards, list(command_ids))
        assert row is not None
        now, heads, first_verdicts = row
        if self._clock_difference_max is not None:
            # Times never decrease within a shard and are never changed: one far in the future would fix all later ones.
            verify_clock(now.timestamp(), asked_at, self._clock(), self._clock_difference_max)
        decided_at = max([now, *(head[4] for head in heads if head[4] is not None)])
        return BatchContext(
            decided_at.replace(microsecond=decided_at.microsecond // 1000 * 1000),
            {head[0]: ShardHead(head[1], head[2], head[3]) for head in heads},
            {
                (str(command), root): FirstVerdict(digest, None, is_loaded=not is_kept)
                for root, command, digest, is_kept in first_verdicts
            },
        )

    async def load_first_verdicts(
        self, first_verdicts: dict[tuple[str, int], FirstVerdict], keys: Sequence[tuple[str, int]], size_max: int
    ) -> None:
        """Read bodies of first verdicts, those of these keys in order, until they have ``size_max`` characters."""
        await load_bodies(self.connection, first_verdicts, keys, size_max)

    async def watermarks(self, incarnation: int, partitions: Sequence[int]) -> dict[int, int]:
        """Return the highest processed offset by partition (-1: none)."""
        return {row[0]: row[1] for row in await self.connection.fetch(WATERMARKS, incarnation, partitions)}

    async def append_times(
        self, incarnation: int, partition: int, first_offset: int, last_offset: int
    ) -> dict[int, int]:
        """Return the append time of each processed record in a range of offsets, also of an earlier incarnation's."""
        return {
            row[0]: row[1]
            for row in await self.connection.fetch(APPEND_TIMES, incarnation, partition, first_offset, last_offset)
        }

    async def streams(
        self, assignments: Sequence[tuple[int, int]], courses: Sequence[tuple[int, int]]
    ) -> list[tuple[Stream, int]]:
        """Return the existing streams of (root account, assignment) and (root account, course), with their versions."""
        rows = await self.connection.fetch(
            STREAMS_WITH_VERSIONS,
            [a[0] for a in assignments],
            [a[1] for a in assignments],
            [c[0] for c in courses],
            [c[1] for c in courses],
        )
        return [(Stream(*row[:5]), row[5]) for row in rows]

    async def events(self, streams: Sequence[int], after_version: int = 0) -> AsyncGenerator[list[StoredEvent], None]:
        """Yield the events of the streams after a version in chunks, prefetching the next chunk.

        Stream by stream, and each in order. Close the generator (``contextlib.aclosing``): until then the connection is
        in use.
        """
        reading = read_events(self.connection, self.encryption_keys, streams, after_version)
        async with contextlib.aclosing(reading) as chunks:
            async for stored_events in chunks:
                yield stored_events

    @property
    def is_in_transaction(self) -> bool:
        """Return whether the connection is inside a transaction, as under ``lock``."""
        return self.connection.is_in_transaction()

    async def find_snapshot(self, stream: int, version_min: int) -> RestoredState | None:
        """Return the state of an assignment's snapshot of at least a version, None if there is none that can be used.

        Outside of transactions only, which a snapshot that cannot be read would abort.
        """
        return await find_snapshot(self.connection, self.encryption_keys, stream, version_min)

    async def write_snapshot(self, snapshot: Snapshot) -> None:
        """Replace an assignment's snapshot by one whose events this store has read."""
        await write_snapshot(self.connection, self.encryption_keys, snapshot)

    async def draw_stream_numbers(self, count: int) -> list[int]:
        """Take stream numbers from the sequence. A number that is never used leaves a harmless gap.

        Raises:
            StreamNumbersBehind: the sequence gives numbers that streams have.
        """
        row = await self.connection.fetchrow(DRAW_STREAM_NUMBERS, count)
        assert row is not None
        numbers: list[int] = row[0]
        if row[1] >= numbers[0]:
            raise StreamNumbersBehind(
                "the sequence stream_number is behind the numbers of the log's streams, as in a copy by logical"
                " replication; nothing is decided for new courses and assignments. Run as the database's owner:"
                " select setval('stream_number', (select max(number) from stream))"
            )
        return numbers

    async def lock(self, shards: Sequence[int]) -> None:
        """Lock shards until the end of the surrounding transaction."""
        await self.connection.execute(LOCK_SHARDS, shards)

    async def append(self, batch: AppendBatch) -> bool:
        """Append a batch with its keys; write nothing and return False if the log has changed since it was read.

        Another writer has appended since, or a failover or restore lost rows that had been appended before.

        Raises:
            asyncpg.UniqueViolationError: the writer of another shard took an id of this batch, or made the day's key;
                nothing was written.
            UnstorableRows: PostgreSQL refuses a row for what it contains, and would again; nothing was written.
        """
        if not batch.changes_keys:
            return await self._append_rows(batch)
        async with self.connection.transaction():
            if not await self._append_rows(batch):
                return False
            if batch.erased_persons:
                await self.encryption_keys.delete_persons(batch.erased_persons)
            if batch.new_person_keys or batch.new_day_keys:
                await self.encryption_keys.insert(batch.new_person_keys, batch.new_day_keys)
        return True

    async def notify_appended(self, shards: Sequence[int]) -> None:
        """Wake the readers of shards, after the append's transaction."""
        await notify_appended(self.connection, shards)

    async def _append_rows(self, batch: AppendBatch) -> bool:
        try:
            return bool(
                await self.connection.fetchval(
                    APPEND,
                    batch.expected_heads(),
                    batch.incarnation,
                    list(batch.watermarks),
                    list(batch.watermarks.values()),
                    batch.decided_at,
                    batch.ordered_streams(),
                    batch.events,
                    batch.verdicts,
                    batch.dead_letters,
                )
            )
        except asyncpg.UniqueViolationError:
            raise
        except UNSTORABLE_ERRORS as error:
            if getattr(error, "server_source_filename", None) in SERVER_LIMIT_SOURCES:
                raise
            raise UnstorableRows(type(error).__name__) from error

    async def current_incarnation(self, topic: str) -> int:
        """Return the number of the topic's incarnation; start the first one when the topic is first read."""
        number = await self.connection.fetchval(CURRENT_INCARNATION, topic)
        if number is not None:
            return int(number)
        async with self.connection.transaction():
            await self.connection.execute("select pg_advisory_xact_lock(hashtext('source ' || $1))", topic)
            number = await self.connection.fetchval(CURRENT_INCARNATION, topic)
            return int(number if number is not None else await self.start_incarnation(topic, "first read"))

    async def start_incarnation(self, topic: str, reason: str, beginnings: Sequence[int] = ()) -> int:
        """Start a new incarnation of a topic that was recreated or truncated: its records count as new.

        ``beginnings``: the first offset of each partition, from 0 on; earlier records do not count as lost.
        """
        return int(await self.connection.fetchval(START_INCARNATION, topic, reason, beginnings))
