"""Reads rows of the log again, by sequence number and by subject, to verify topics and to replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.feeds import (
    DEAD_LETTER_COLUMNS,
    EVENT_COLUMNS,
    JOIN_SOURCE,
    JOIN_STREAM,
    VERDICT_COLUMNS,
    DeadLetterRow,
    EventRow,
    Feed,
    FeedReader,
    FeedRow,
    VerdictRow,
)
from services.eventlog.installation import read_installation
from services.kafka.partitioning import get_course_shard

# $1-$4 topic, partition, offset and append time of records. The time distinguishes incarnations of the topic.
DEAD_LETTERS_BY_RECORD = """
select k.i, d.shard, d.number
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) with ordinality k(topic, partition, "offset", at, i)
join source s on s.topic = k.topic
join dead_letter d on d.source = s.number and d.partition = k.partition and d."offset" = k."offset"
                  and d.append_time = k.at
"""
# $1 root account, $2 course, $3 assignment.
EXISTS = """
select exists (select from stream s where s.root_account = $1
               and ($2::bigint is null or s.course = $2) and ($3::bigint is null or s.assignment = $3))
"""
ERASED_COURSES = """
select distinct s.root_account, s.course from event e join stream s on s.number = e.stream
where e.type = 'person_erased'
"""
# $1 shard, $2 numbers.
ARCHIVED_AMONG = """
select v.number from verdict v where v.shard = $1 and v.number = any($2::bigint[]) and v.body is null
"""
# $1 shard, $2-$3 numbers, the first exclusive.
ARCHIVED_RANGES = """
select min(a.number), max(a.number)
from (select v.number, v.number - row_number() over (order by v.number) as island
      from verdict v where v.shard = $1 and v.number > $2 and v.number <= $3 and v.body is null) a
group by a.island order by 1
"""
# $1 root account, $2 assignment.
SHARD_OF_ASSIGNMENT = "select s.shard from stream s where s.root_account = $1 and s.assignment = $2"


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Selects rows of the log; None does not restrict. ``since`` is inclusive, ``until`` exclusive.

    Raises:
        ValueError: ids without their root account, or times without an offset.
    """

    root_account: int | None = None
    course: int | None = None
    assignment: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.root_account is None and (self.course is not None or self.assignment is not None):
            raise ValueError("a course or an assignment is selected within a root account: state the root account too")
        if any(at is not None and at.tzinfo is None for at in (self.since, self.until)):
            raise ValueError("a time needs an offset, e.g. 2026-01-31T12:00:00Z")

    def __str__(self) -> str:
        values = {name: getattr(self, name) for name in self.__slots__}
        texts = {name: at.isoformat() if isinstance(at, datetime) else at for name, at in values.items()}
        return " ".join(f"{name}={text}" for name, text in texts.items() if text is not None) or "everything"


EVERYTHING = LogFilter()


@dataclass(frozen=True, slots=True)
class OriginalRecord:
    """The record that a dead letter came from; ``append_time`` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    append_time: int


@dataclass(frozen=True, slots=True)
class _FeedTable:
    """The parts of a feed's queries; there is a query for each feed, set of columns and condition."""

    columns: str
    from_clause: str
    sequence_column: str
    filter_clause: str
    row_type: type[FeedRow]
    present_clause: str = "true"


# $4 root account, $5 course, $6 assignment, $7 since, $8 until; $1-$3 are shard and bounds of the number, $9 the limit.
_EVENT_FILTER = """
    ($4::bigint is null or s.root_account = $4) and ($5::bigint is null or s.course = $5)
    and ($6::bigint is null or s.assignment = $6)
    and ($7::timestamptz is null or t.recorded_at >= $7) and ($8::timestamptz is null or t.recorded_at < $8)
"""
# A verdict's ids are in its metadata. An archived verdict cannot be selected.
_VERDICT_FILTER = """
    t.body is not null and ($4::bigint is null or t.root_account = $4)
    and ($5::bigint is null or t.metadata ->> 'course_id' = $5::bigint::text)
    and ($6::bigint is null or t.metadata ->> 'assignment_id' = $6::bigint::text)
    and ($7::timestamptz is null or t.recorded_at >= $7) and ($8::timestamptz is null or t.recorded_at < $8)
"""
# The course of an unreadable record is unknown.
_DEAD_LETTER_FILTER = """
    $4::bigint is null and $5::bigint is null and $6::bigint is null
    and ($7::timestamptz is null or t.recorded_at >= $7) and ($8::timestamptz is null or t.recorded_at < $8)
"""
_FEED_TABLES: dict[Feed, _FeedTable] = {
    "events": _FeedTable(EVENT_COLUMNS, f"event t {JOIN_STREAM}", "t.position", _EVENT_FILTER, EventRow),
    "published": _FeedTable(EVENT_COLUMNS, f"event t {JOIN_STREAM}", "t.live_number", _EVENT_FILTER, EventRow),
    "verdicts": _FeedTable(VERDICT_COLUMNS, "verdict t", "t.number", _VERDICT_FILTER, VerdictRow, "t.body is not null"),
    "dead_letters": _FeedTable(
        DEAD_LETTER_COLUMNS, f"dead_letter t {JOIN_SOURCE}", "t.number", _DEAD_LETTER_FILTER, DeadLetterRow
    ),
}


class FeedHistory(FeedReader):
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS."""

    async def shards(self, log_filter: LogFilter) -> list[int]:
        """Return the shards that can hold selected rows, ascending."""
        if log_filter.course is not None:
            return [get_course_shard(log_filter.course, (await read_installation(self.connection)).shard_count)]
        if log_filter.assignment is not None:
            ids = (log_filter.root_account, log_filter.assignment)
            shard = await self.connection.fetchval(SHARD_OF_ASSIGNMENT, *ids)
            return [] if shard is None else [int(shard)]
        return list((await read_installation(self.connection)).shards)

    async def exists(self, log_filter: LogFilter) -> bool:
        """Return whether the log has the course or assignment of the filter; True if it names none."""
        if log_filter.course is None and log_filter.assignment is None:
            return True
        ids = (log_filter.root_account, log_filter.course, log_filter.assignment)
        return bool(await self.connection.fetchval(EXISTS, *ids))

    async def erased_courses(self) -> set[tuple[int, int]]:
        """Return (root account, course) of the courses in which a person was erased."""
        return {(row[0], row[1]) for row in await self.connection.fetch(ERASED_COURSES)}

    async def rows(
        self, feed: Feed, shard: int, after: int, last: int, log_filter: LogFilter, rows_max: int
    ) -> list[FeedRow]:
        """Return the first ``rows_max`` selected rows of a shard with numbers above ``after`` up to ``last``."""
        table = _FEED_TABLES[feed]
        window = (shard, after, last)
        found = await self._fetch_filtered(table, table.columns, window, log_filter, rows_max)
        return await self._unseal([table.row_type(*row) for row in found])

    async def sequences(self, feed: Feed, shard: int, after: int, last: int, log_filter: LogFilter) -> list[int]:
        """Return the numbers of all selected rows of a shard above ``after`` up to ``last``."""
        table = _FEED_TABLES[feed]
        return [
            row[0]
            for row in await self._fetch_filtered(table, table.sequence_column, (shard, after, last), log_filter, None)
        ]

    async def rows_at(self, feed: Feed, shard: int, sequences: Sequence[int]) -> list[FeedRow]:
        """Return the existing rows of a shard with these numbers, in order; without archived verdicts."""
        table = _FEED_TABLES[feed]
        where = f"t.shard = $1 and {table.sequence_column} = any($2::bigint[]) and {table.present_clause}"
        query = f"select {table.columns} from {table.from_clause} where {where} order by {table.sequence_column}"
        return await self._unseal(
            [table.row_type(*row) for row in await self.connection.fetch(query, shard, sequences)]
        )

    async def archived_among(self, shard: int, numbers: Sequence[int]) -> set[int]:
        """Return those of these numbers whose verdicts are archived."""
        return {row[0] for row in await self.connection.fetch(ARCHIVED_AMONG, shard, numbers)}

    async def archived_ranges(self, shard: int, after: int, last: int) -> list[tuple[int, int]]:
        """Return (first, last) of each range of verdicts above ``after`` up to ``last`` that are archived."""
        return [(row[0], row[1]) for row in await self.connection.fetch(ARCHIVED_RANGES, shard, after, last)]

    async def find_dead_letters(self, records: Sequence[OriginalRecord]) -> list[tuple[int, int] | None]:
        """Return (shard, number) of the dead letter of each record; None if the log has none."""
        columns = [[getattr(place, name) for place in records] for name in OriginalRecord.__slots__]
        number_by_index = {
            row[0]: (row[1], row[2]) for row in await self.connection.fetch(DEAD_LETTERS_BY_RECORD, *columns)
        }
        return [number_by_index.get(index) for index in range(1, len(records) + 1)]

    async def _fetch_filtered(
        self, table: _FeedTable, columns: str, window: tuple[int, int, int], log_filter: LogFilter, rows_max: int | None
    ) -> list[asyncpg.Record]:
        where = (
            f"t.shard = $1 and {table.sequence_column} > $2 and {table.sequence_column} <= $3 and {table.filter_clause}"
        )
        query = f"select {columns} from {table.from_clause} where {where} order by {table.sequence_column} limit $9"
        filter_values = [getattr(log_filter, name) for name in log_filter.__slots__]
        return await self.connection.fetch(query, *window, *filter_values, rows_max)
