"""Watching the log from beside: what is new in it, and what the topics do not have yet. Never writes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from services.eventlog.connecting import Pool
from services.eventlog.shards import SHARDS
from services.topics import Progress

SHARD_LIST = list(range(SHARDS))

DECIDED = """
select v.shard, v.number, v.root_account, v.command_id, v.body->>'type', v.body->>'reason', v.body->>'course_id',
       v.body->>'assignment_id', (v.metadata->>'time')::timestamptz, v.append_time,
       not v.first and v.body->>'reason' is null
from unnest($1::smallint[], $2::bigint[]) k(shard, after)
cross join lateral (select * from verdict v where v.shard = k.shard and v.number > k.after
                    order by v.number limit $3) v
"""
WATERMARKS = """
select p, watermark(s.number, p) from unnest($2::integer[]) p
cross join (select number from source where topic = $1 order by number desc limit 1) s
"""
# How many rows stand after each position, and the time of the first of them.
BEHIND = """
select 'events', coalesce(sum(h.position - k.position), 0)::bigint, min(e.recorded_at)
from heads($1::smallint[]) h join unnest($1::smallint[], $2::bigint[]) k(shard, position) on k.shard = h.shard
left join lateral (select e.recorded_at from event e where e.shard = k.shard and e.position > k.position
                   order by e.position limit 1) e on true
union all
select 'live-events', coalesce(sum(l.count), 0)::bigint, min(l.first)
from unnest($1::smallint[], $2::bigint[]) k(shard, position)
cross join lateral (select count(*), min(e.recorded_at) as first from event e
                    where e.shard = k.shard and e.position > k.position and e.live_number is not null) l
union all
select 'verdicts', coalesce(sum(h.verdict_number - k.number), 0)::bigint, min(v.at)
from heads($1::smallint[]) h join unnest($1::smallint[], $3::bigint[]) k(shard, number) on k.shard = h.shard
left join lateral (select (v.metadata->>'time')::timestamptz as at from verdict v
                   where v.shard = k.shard and v.number > k.number order by v.number limit 1) v on true
union all
select 'dead-letters', coalesce(sum(h.dead_letter_number - k.number), 0)::bigint, min(d.recorded_at)
from heads($1::smallint[]) h join unnest($1::smallint[], $4::bigint[]) k(shard, number) on k.shard = h.shard
left join lateral (select d.recorded_at from dead_letter d where d.shard = k.shard and d.number > k.number
                   order by d.number limit 1) d on true
"""
# Grades that are in the log and not on the topic, by the command that published them; and all that it published.
PUBLISHING = """
select s.root_account, s.course, s.assignment, w.command_id, w.waiting, t.total, w.since
from (select e.stream, e.metadata->>'command_id' as command_id, count(*) as waiting, min(e.recorded_at) as since,
             max(e.version) as version
      from unnest($1::smallint[], $2::bigint[]) k(shard, position)
      join event e on e.shard = k.shard and e.position > k.position and e.live_number is not null
      group by 1, 2) w
join stream s on s.number = w.stream
cross join lateral (select count(*) as total from event e
                    where e.stream = w.stream and e.version between w.version - 20000 and w.version
                      and e.recorded_at = w.since and e.live_number is not null
                      and e.metadata->>'command_id' = w.command_id) t
order by w.since, s.assignment limit $3
"""


@dataclass(frozen=True, slots=True)
class Decided:
    """A verdict. ``type``, ``course``, ``assignment``: None where unreadable; ``reason``: None when it was accepted.

    ``append_time``: of its record, milliseconds since 1970. ``repeated``: the first verdict again.
    """

    shard: int
    number: int
    root_account: int
    command_id: str
    type: str | None
    reason: str | None
    course: str | None
    assignment: str | None
    at: datetime
    append_time: int
    repeated: bool

    @property
    def seconds(self) -> float:
        """From the record's append to the decision."""
        return max(self.at.timestamp() - self.append_time / 1_000, 0)


@dataclass(frozen=True, slots=True)
class Behind:
    """What a topic does not have yet: how many records, and since when the oldest waits (None: nothing waits)."""

    topic: str
    waiting: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Publishing:
    """Grades published by one command: ``waiting`` of ``total`` are not on the topic yet."""

    root_account: int
    course: int
    assignment: int
    command_id: str
    waiting: int
    total: int
    since: datetime


class Watching:
    """Reads over one connection or pool. Every method may raise asyncpg's and OSError's errors."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection

    async def decided(self, numbers: Sequence[int], rows_max: int) -> list[Decided]:
        """The verdicts after a number of each shard, each shard's in order, at most ``rows_max`` a shard."""
        rows = await self.connection.fetch(DECIDED, SHARD_LIST, list(numbers), rows_max)
        return [Decided(row[0], row[1], row[2], str(row[3]), *row[4:]) for row in rows]

    async def watermarks(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """The highest decided offset by partition (-1: none)."""
        rows = await self.connection.fetch(WATERMARKS, topic, list(partitions))
        return {**dict.fromkeys(partitions, -1), **{row[0]: row[1] for row in rows}}

    async def behind(self, progress: Progress) -> list[Behind]:
        """What the topics do not have yet, the relay having come so far."""
        rows = await self.connection.fetch(
            BEHIND, SHARD_LIST, list(progress.positions), list(progress.verdicts), list(progress.dead_letters)
        )
        found = [Behind(*row) for row in rows]
        # The two topics of published grades are written in one transaction.
        return [*found, *(replace(behind, topic="caliper") for behind in found if behind.topic == "live-events")]

    async def publishing(self, progress: Progress, rows_max: int) -> list[Publishing]:
        """Publications that are not wholly on the topic, the oldest first."""
        rows = await self.connection.fetch(PUBLISHING, SHARD_LIST, list(progress.positions), rows_max)
        return [Publishing(*row) for row in rows]

    async def now(self) -> datetime:
        """PostgreSQL's clock."""
        found: datetime = await self.connection.fetchval("select clock_timestamp()")
        return found
