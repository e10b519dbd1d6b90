"""Reading the log in order, for the relay: what stands after the last number of each shard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

HEADS = "select h.shard, h.position, h.verdict_number, h.dead_letter_number from heads($1::smallint[]) h"
EVENTS = """
select e.shard, e.position, e.live_number, s.root_account, s.course, s.assignment, e.type, e.data, e.metadata,
       e.recorded_at, s.number
from unnest($1::smallint[], $2::bigint[]) k(shard, after)
cross join lateral (select * from event e where e.shard = k.shard and e.position > k.after
                    order by e.position limit $3) e
join stream s on s.number = e.stream
order by e.shard, e.position
"""
VERDICTS = """
select v.shard, v.number, v.key, v.body, v.metadata
from unnest($1::smallint[], $2::bigint[]) k(shard, after)
cross join lateral (select * from verdict v where v.shard = k.shard and v.number > k.after
                    order by v.number limit $3) v
order by v.shard, v.number
"""
DEAD_LETTERS = """
select d.shard, d.number, d.key, d.value, d.headers, d.reason, d.message, s.topic, d.partition, d."offset",
       d.append_time
from unnest($1::smallint[], $2::bigint[]) k(shard, after)
cross join lateral (select * from dead_letter d where d.shard = k.shard and d.number > k.after
                    order by d.number limit $3) d
join source s on s.number = d.source
order by d.shard, d.number
"""
SIS_IDS = """
select e.position, e.data from stream s join event e on e.stream = s.number and e.type = 'users_updated'
where s.root_account = $1 and s.course = $2 and s.assignment is null and e.position > $3 and e.position < $4
order by e.position
"""
LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"


@dataclass(frozen=True, slots=True)
class EventRow:
    """``data``: the value on the events topic; ``metadata``: JSON; ``live_number``: None without a grade_change."""

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


@dataclass(frozen=True, slots=True)
class VerdictRow:
    shard: int
    number: int
    key: bytes | None
    body: str
    metadata: str


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """``append_time``: milliseconds since 1970."""

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


class Tail:
    """Reads over one connection."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def heads(self, shards: Sequence[int]) -> list[tuple[int, int, int]]:
        """Highest position, verdict number and dead letter number of each shard, in the order given."""
        rows = {row[0]: (row[1], row[2], row[3]) for row in await self.connection.fetch(HEADS, shards)}
        return [rows[shard] for shard in shards]

    async def read(
        self,
        shards: Sequence[int],
        positions: Sequence[int],
        verdicts: Sequence[int],
        dead_letters: Sequence[int],
        rows_max: int,
    ) -> tuple[list[EventRow], list[VerdictRow], list[DeadLetterRow]]:
        """What stands after the given numbers, at most ``rows_max`` a shard and kind, from one snapshot."""
        async with self.connection.transaction(isolation="repeatable_read", readonly=True):
            return (
                [EventRow(*row) for row in await self.connection.fetch(EVENTS, shards, positions, rows_max)],
                [VerdictRow(*row) for row in await self.connection.fetch(VERDICTS, shards, verdicts, rows_max)],
                [DeadLetterRow(*r) for r in await self.connection.fetch(DEAD_LETTERS, shards, dead_letters, rows_max)],
            )

    async def users_updated(self, root_account: int, course: int, after: int, before: int) -> list[tuple[int, str]]:
        """(position, data) of a course's users_updated events between two positions, both left out."""
        rows = await self.connection.fetch(SIS_IDS, root_account, course, after, before)
        return [(row[0], row[1]) for row in rows]

    async def try_lock(self, name: str) -> bool:
        """Take the session-level lock of that name, which ends with the connection; False if another holds it."""
        return bool(await self.connection.fetchval(LOCK, name))
