"""Reads the log in order: the rows after a number of each shard.

The log has four *feeds*, numbered densely within each shard: events by position, published events by live number,
verdicts and dead letters. Every output topic is built from one of them.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias, cast

import asyncpg

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import NO_HEADERS, UpdatedUsers, unseal_events, unseal_letters
from services.eventlog.postgres import Pool
from services.eventlog.stored_events import BYTES_PER_FETCH, EVENTS_PER_FETCH

Feed = Literal["events", "published", "verdicts", "dead_letters"]
FEED_BY_TOPIC: Mapping[str, Feed] = {
    "verdicts": "verdicts",
    "live-events": "published",
    "caliper": "published",
    "events": "events",
    "dead-letters": "dead_letters",
}
"""The feed of each output topic (without prefix); the feed's numbers are the topic's ``ce_sequence``."""


class EventRow(NamedTuple):
    """``data`` is the value on the events topic, ``metadata`` JSON; ``live_number`` is None unless it is published."""

    shard: int
    position: int
    live_number: int | None
    root_account: int
    course: int
    assignment: int | None
    type: str
    data: str
    metadata: str
    recorded_at: datetime
    stream: int


class VerdictRow(NamedTuple):
    """``body`` is the value on the verdicts topic, ``metadata`` JSON."""

    shard: int
    number: int
    key: bytes | None
    body: str
    metadata: str


class DeadLetterRow(NamedTuple):
    """``append_time`` is in milliseconds since 1970; ``is_erased``: the content was erased with the key of its day."""

    shard: int
    number: int
    key: bytes | None
    value: bytes | None
    headers: bytes
    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    append_time: int
    is_erased: bool = False


FeedRow: TypeAlias = EventRow | VerdictRow | DeadLetterRow

EVENT_COLUMNS = (
    "t.shard, t.position, t.live_number, s.root_account, s.course, s.assignment, t.type, t.data, t.metadata,"
    " t.recorded_at, s.number"
)
VERDICT_COLUMNS = "t.shard, t.number, t.key, t.body, t.metadata"
DEAD_LETTER_COLUMNS = (
    't.shard, t.number, t.key, t.value, t.headers, t.reason, t.message, s.topic, t.partition, t."offset", t.append_time'
)
# A row's stored size, and its size. JSON's size is known only once it is decompressed; stored it takes no more, but for
# a header of 4 bytes. A key that a producer chose, and a dead letter's headers, may take a megabyte like any value.
EVENT_SIZES = ("pg_column_size(data) - 4", "octet_length(data::text)")
VERDICT_SIZES = (
    "coalesce(octet_length(key), 0) + pg_column_size(body) - 4",
    "coalesce(octet_length(key), 0) + octet_length(body::text)",
)
# The size of bytes is known without reading them.
DEAD_LETTER_SIZES = ("coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + octet_length(headers)",) * 2
# Where the next verdict is archived, begin at the first one that is not: years of them would be looked for one by one.
FROM_FIRST_KEPT = """body is not null and number >= (
    select case when v.body is not null then v.number
                else (select min(b.number) from verdict_body b where b.shard = k.shard and b.number > k.after) end
    from verdict v where v.shard = k.shard and v.number = k.after + 1)"""
JOIN_STREAM = "join stream s on s.number = t.stream"
JOIN_SOURCE = "join source s on s.number = t.source"

# $1 shards.
HEADS = """
select h.shard, h.position, h.live_number, h.verdict_number, h.dead_letter_number from heads($1::smallint[]) h
"""
# $1 shards, $2 positions.
LIVE_NUMBERS_AT = """
select coalesce((select t.live_number from event t
                 where t.shard = k.shard and t.live_number is not null and t.position <= k.position
                 order by t.live_number desc limit 1), 0)
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, position, i) order by k.i
"""


def _build_feed_query(
    columns: str, table: str, sequence_column: str, sizes: tuple[str, str], join: str, condition: str | None = None
) -> str:
    """Build the query for the rows of each shard above one number up to another, bounded by count and bytes.

    Binds: $1 shards, $2 numbers after which, $3 numbers up to which, $4 rows and $5 bytes of a shard. A row may take
    megabytes. The lateral join reads an index from the number on, regardless of the planner's statistics. ``condition``
    replaces that of the first number.

    Of ``sizes``, the second is computed only of rows that are within the limit by the first: each read would decompress
    thousands of large rows to return one.
    """
    stored_size, size = sizes
    return f"""
select {columns}
from unnest($1::smallint[], $2::bigint[], $3::bigint[]) k(shard, after, last)
cross join lateral (
    select *, sum({size}) over (order by {sequence_column} rows unbounded preceding) - ({size}) as bytes_before
    from (
        select *, sum({stored_size}) over (order by {sequence_column} rows unbounded preceding)
               - ({stored_size}) as stored_bytes_before
        from (select * from {table} where shard = k.shard and {condition or f"{sequence_column} > k.after"}
                and {sequence_column} <= k.last order by {sequence_column} limit $4) t
    ) t
    where t.stored_bytes_before < $5
) t
{join}
where t.bytes_before < $5
order by t.shard, t.{sequence_column}
"""


FEED_QUERIES: Mapping[Feed, tuple[str, type[FeedRow]]] = {
    "events": (_build_feed_query(EVENT_COLUMNS, "event", "position", EVENT_SIZES, JOIN_STREAM), EventRow),
    "published": (_build_feed_query(EVENT_COLUMNS, "event", "live_number", EVENT_SIZES, JOIN_STREAM), EventRow),
    # Archived verdicts are skipped: they were published long ago.
    "verdicts": (
        _build_feed_query(VERDICT_COLUMNS, "verdict", "number", VERDICT_SIZES, "", FROM_FIRST_KEPT),
        VerdictRow,
    ),
    "dead_letters": (
        _build_feed_query(DEAD_LETTER_COLUMNS, "dead_letter", "number", DEAD_LETTER_SIZES, JOIN_SOURCE),
        DeadLetterRow,
    ),
}
# $1 root account, $2 course, $3-$4 positions and $5 version, all exclusive, $6 rows and $7 stored bytes.
USERS_UPDATED = """
select p.position, p.version, p.data, p.found
from (
    select e.position, e.version, case when e.type = 'users_updated' then e.data end as data,
           sum(pg_column_size(e.data)) over (order by e.version rows unbounded preceding)
           - pg_column_size(e.data) as bytes_before,
           count(*) over () as found
    from (
        select e.position, e.version, e.type, e.data from event e
        where e.stream = (
                select s.number from stream s where s.root_account = $1 and s.course = $2 and s.assignment is null)
            and e.type in ('users_updated', 'person_erased')
            and e.position > $3 and e.position < $4 and e.version > $5
        order by e.version limit $6) e
) p
where p.bytes_before < $7
order by p.version
"""
TRY_LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"
HEAD_COLUMNS: Mapping[Feed, int] = {"events": 1, "published": 2, "verdicts": 3, "dead_letters": 4}


class FeedReader:
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection
        self.encryption_keys = EncryptionKeys(connection)

    async def heads(self, shards: Sequence[int]) -> dict[Feed, list[int]]:
        """Return the highest number of each feed in each shard (0: none), in the order given, from one snapshot."""
        rows = {row[0]: row for row in await self.connection.fetch(HEADS, shards)}
        return {series: [rows[shard][field] for shard in shards] for series, field in HEAD_COLUMNS.items()}

    async def read(
        self,
        feed: Feed,
        shards: Sequence[int],
        after: Sequence[int],
        last: Sequence[int],
        rows_max: int,
        bytes_max: int,
    ) -> list[FeedRow]:
        """Return the rows with numbers above ``after`` up to ``last``, shard by shard, in order.

        At most ``rows_max`` of a shard, and none after its rows reach ``bytes_max``; always at least one.
        """
        query, row_type = FEED_QUERIES[feed]
        found = await self.connection.fetch(query, shards, after, last, rows_max, bytes_max)
        if row_type is DeadLetterRow:
            return await self._unseal([DeadLetterRow(*row) for row in found])
        # A row has all fields, in order: naming each, as the constructor does, takes twice as long.
        return await self._unseal([tuple.__new__(row_type, row) for row in found])

    async def _unseal(self, rows: list[FeedRow]) -> list[FeedRow]:
        """Decrypt the personal data in rows of one feed; erased data is null."""
        if rows and isinstance(rows[0], DeadLetterRow):
            letters = cast(list[DeadLetterRow], rows)
            return [
                letter._replace(
                    key=key,
                    value=value,
                    headers=NO_HEADERS if headers is None else headers,
                    is_erased=headers is None,
                )
                for letter, (key, value, headers) in zip(
                    letters,
                    await unseal_letters(
                        self.encryption_keys, [(letter.key, letter.value, letter.headers) for letter in letters]
                    ),
                    strict=True,
                )
            ]
        if rows and isinstance(rows[0], EventRow):
            return list(await unseal_events(self.encryption_keys, cast(list[EventRow], rows)))
        return rows

    async def live_numbers_at(self, shards: Sequence[int], positions: Sequence[int]) -> list[int]:
        """Return the last live number of each shard at a position (0: none)."""
        return [row[0] for row in await self.connection.fetch(LIVE_NUMBERS_AT, shards, positions)]

    async def users_updated_events(
        self, root_account: int, course: int, after_position: int, before_position: int
    ) -> AsyncGenerator[list[tuple[int, str | None]], None]:
        """Yield (position, data) of a course's users_updated events between two positions, both exclusive, in pages.

        Data is None where a person of the course was erased; pages that were read before may still have the person's.
        """
        parameters = (root_account, course, after_position, before_position)
        version, has_more = 0, True
        while has_more:
            rows = await self.connection.fetch(USERS_UPDATED, *parameters, version, EVENTS_PER_FETCH, BYTES_PER_FETCH)
            if not rows:
                return
            version, found = rows[-1][1], rows[-1][3]
            has_more = len(rows) < found or found == EVENTS_PER_FETCH
            updates = [UpdatedUsers(row[0], row[2]) for row in rows if row[2] is not None]
            data = {event.position: event.data for event in await unseal_events(self.encryption_keys, updates)}
            yield [(row[0], data.get(row[0])) for row in rows]

    async def try_lock(self, name: str) -> bool:
        """Take a session-level lock, which ends with the connection (not one of a pool). False if it is held."""
        return bool(await self.connection.fetchval(TRY_LOCK, name))
