"""Reading the log again, for who checks topics against it or emits again: by number, and by what a record is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.feeds import (
    DEAD_LETTER,
    EVENT,
    FIELDS,
    OF_SOURCE,
    OF_STREAM,
    VERDICT,
    DeadLetterRow,
    EventRow,
    Row,
    Series,
    Tail,
    VerdictRow,
)
from services.kafka.partitioning import SHARDS, shard_of_course

# A producer may have sent the same dead letter's place in another life of the topic: the time tells them apart.
PLACES = """
select k.i, d.shard, d.number
from unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) with ordinality k(topic, partition, "offset", at, i)
join source s on s.topic = k.topic
join dead_letter d on d.source = s.number and d.partition = k.partition and d."offset" = k."offset"
                  and d.append_time = k.at
"""
# Times never fall within a shard: the last row before a time is found from its end on.
NUMBERS_BEFORE = """
select k.shard,
       coalesce((select t.position from event t where t.shard = k.shard and t.recorded_at < $2
                 order by t.position desc limit 1), 0),
       coalesce((select t.live_number from event t where t.shard = k.shard and t.live_number is not null
                 and t.recorded_at < $2 order by t.live_number desc limit 1), 0),
       coalesce((select t.number from verdict t where t.shard = k.shard and (t.metadata ->> 'time')::timestamptz < $2
                 order by t.number desc limit 1), 0),
       coalesce((select t.number from dead_letter t where t.shard = k.shard and t.recorded_at < $2
                 order by t.number desc limit 1), 0)
from unnest($1::smallint[]) k(shard)
"""
KNOWN = """
select exists (select from stream s where s.root_account = $1
               and ($2::bigint is null or s.course = $2) and ($3::bigint is null or s.assignment = $3))
"""
SHARD_OF_ASSIGNMENT = "select s.shard from stream s where s.root_account = $1 and s.assignment = $2"


@dataclass(frozen=True, slots=True)
class Selection:
    """Part of the log: what is left None does not narrow it.

    ``since`` and ``until`` bound when it was recorded: ``since`` included, ``until`` left out.

    Raises:
        ValueError: ids without the root account that they belong to, or times without an offset.
    """

    root_account: int | None = None
    course: int | None = None
    assignment: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.root_account is None and (self.course is not None or self.assignment is not None):
            raise ValueError("a course or an assignment is selected within a root account: name it too")
        if any(at is not None and at.tzinfo is None for at in (self.since, self.until)):
            raise ValueError("a time needs an offset, e.g. 2026-01-31T12:00:00Z")

    def __str__(self) -> str:
        stated = {name: getattr(self, name) for name in self.__slots__}
        texts = {name: at.isoformat() if isinstance(at, datetime) else at for name, at in stated.items()}
        return " ".join(f"{name}={text}" for name, text in texts.items() if text is not None) or "everything"


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dead letter came from; ``append_time`` in milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    append_time: int


@dataclass(frozen=True, slots=True)
class _Table:
    """How one series is read: columns of its row, where they stand, its number, and what a selection asks of it."""

    columns: str
    tables: str
    number: str
    selected: str
    row: type[Row]


_OF_EVENT = """
    ($4::bigint is null or s.root_account = $4) and ($5::bigint is null or s.course = $5)
    and ($6::bigint is null or s.assignment = $6)
    and ($7::timestamptz is null or t.recorded_at >= $7) and ($8::timestamptz is null or t.recorded_at < $8)
"""
# A verdict's ids and time are in its metadata, as they are on the topic.
_OF_VERDICT = """
    ($4::bigint is null or t.root_account = $4)
    and ($5::bigint is null or t.metadata ->> 'course_id' = $5::bigint::text)
    and ($6::bigint is null or t.metadata ->> 'assignment_id' = $6::bigint::text)
    and ($7::timestamptz is null or (t.metadata ->> 'time')::timestamptz >= $7)
    and ($8::timestamptz is null or (t.metadata ->> 'time')::timestamptz < $8)
"""
# Nobody can say which course a record is about that could not be read.
_OF_DEAD_LETTER = """
    $4::bigint is null and $5::bigint is null and $6::bigint is null
    and ($7::timestamptz is null or t.recorded_at >= $7) and ($8::timestamptz is null or t.recorded_at < $8)
"""
_TABLES: dict[Series, _Table] = {
    "events": _Table(EVENT, f"event t {OF_STREAM}", "t.position", _OF_EVENT, EventRow),
    "published": _Table(EVENT, f"event t {OF_STREAM}", "t.live_number", _OF_EVENT, EventRow),
    "verdicts": _Table(VERDICT, "verdict t", "t.number", _OF_VERDICT, VerdictRow),
    "dead_letters": _Table(DEAD_LETTER, f"dead_letter t {OF_SOURCE}", "t.number", _OF_DEAD_LETTER, DeadLetterRow),
}


class History(Tail):
    """Reads over one connection or pool. Every method may raise asyncpg's and OSError's errors."""

    async def shards(self, selection: Selection) -> list[int]:
        """The shards that selected rows can be in, ascending."""
        if selection.course is not None:
            return [shard_of_course(selection.course)]
        if selection.assignment is not None:
            ids = (selection.root_account, selection.assignment)
            found = await self.connection.fetchval(SHARD_OF_ASSIGNMENT, *ids)
            return [] if found is None else [int(found)]
        return list(range(SHARDS))

    async def knows(self, selection: Selection) -> bool:
        """Whether there is such a course or assignment in the log; True where a selection names none."""
        if selection.course is None and selection.assignment is None:
            return True
        ids = (selection.root_account, selection.course, selection.assignment)
        return bool(await self.connection.fetchval(KNOWN, *ids))

    async def numbers_before(self, shards: Sequence[int], at: datetime) -> dict[Series, list[int]]:
        """The last number of each series in each shard that was recorded before a time (0: none)."""
        rows = {row[0]: row for row in await self.connection.fetch(NUMBERS_BEFORE, shards, at)}
        return {series: [rows[shard][field] for shard in shards] for series, field in FIELDS.items()}

    async def rows(
        self, series: Series, shard: int, after: int, last: int, selection: Selection, rows_max: int
    ) -> list[Row]:
        """The first ``rows_max`` selected rows of a shard with numbers above ``after`` up to ``last``, in order."""
        table = _TABLES[series]
        window = (shard, after, last)
        return [table.row(*row) for row in await self._selected(table, table.columns, window, selection, rows_max)]

    async def numbers(self, series: Series, shard: int, after: int, last: int, selection: Selection) -> list[int]:
        """The numbers of all selected rows of a shard above ``after`` up to ``last``, in order."""
        table = _TABLES[series]
        return [row[0] for row in await self._selected(table, table.number, (shard, after, last), selection, None)]

    async def rows_at(self, series: Series, shard: int, numbers: Sequence[int]) -> list[Row]:
        """The rows of a shard with these numbers, as far as they exist, in order."""
        table = _TABLES[series]
        where = f"t.shard = $1 and {table.number} = any($2::bigint[])"
        query = f"select {table.columns} from {table.tables} where {where} order by {table.number}"
        return [table.row(*row) for row in await self.connection.fetch(query, shard, numbers)]

    async def dead_letters_from(self, places: Sequence[Place]) -> list[tuple[int, int] | None]:
        """(shard, number) of the dead letters of these records; None where the log has none."""
        columns = [[getattr(place, name) for place in places] for name in Place.__slots__]
        found = {row[0]: (row[1], row[2]) for row in await self.connection.fetch(PLACES, *columns)}
        return [found.get(index) for index in range(1, len(places) + 1)]

    async def _selected(
        self, table: _Table, columns: str, window: tuple[int, int, int], selection: Selection, rows_max: int | None
    ) -> list[asyncpg.Record]:
        where = f"t.shard = $1 and {table.number} > $2 and {table.number} <= $3 and {table.selected}"
        query = f"select {columns} from {table.tables} where {where} order by {table.number} limit $9"
        bounds = [getattr(selection, name) for name in selection.__slots__]
        return await self.connection.fetch(query, *window, *bounds, rows_max)
