"""The topics' lag: how many rows of each shard they lack, and how long the oldest of them has waited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.feeds import Feed, FeedReader
from services.eventlog.postgres import Pool

# By shard in the order of $1 (shards) and $2 (numbers): when the row after that number was recorded, and PostgreSQL's
# clock. Numbers are dense, so that this is the oldest row that is not published. Archived verdicts are never published:
# in place of one it is the next verdict that is not archived. A subquery for each shard reads the index, regardless of
# the planner's statistics.
NEXT_RECORDED_AT: Mapping[Feed, str] = {
    "events": """
select (select e.recorded_at from event e where e.shard = k.shard and e.position = k.number + 1), clock_timestamp()
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
""",
    "published": """
select (select e.recorded_at from event e where e.shard = k.shard and e.live_number = k.number + 1), clock_timestamp()
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
""",
    "verdicts": """
select (select case when v.body is not null then v.recorded_at
                    else (select b.recorded_at from verdict_body b where b.shard = v.shard and b.number > v.number
                          order by b.number limit 1) end
        from verdict v where v.shard = k.shard and v.number = k.number + 1), clock_timestamp()
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
""",
    "dead_letters": """
select (select d.recorded_at from dead_letter d where d.shard = k.shard and d.number = k.number + 1), clock_timestamp()
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
""",
}


@dataclass(frozen=True, slots=True)
class ShardLag:
    """The lag of one shard, by topic in the requested order: heads, and the oldest row's age in seconds (0: none).

    With no such row, all rows up to the head are published, or archived verdicts, which never are.
    """

    heads: tuple[int, ...]
    ages: tuple[float, ...]


async def read_next_recorded_at(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    feed: Feed,
    shards: Sequence[int],
    sequences: Sequence[int],
) -> list[tuple[datetime | None, datetime]]:
    """Read when the first row after a number of each shard was recorded (None: none waits), and PostgreSQL's clock."""
    rows = await connection.fetch(NEXT_RECORDED_AT[feed], shards, sequences)
    return [(row[0], row[1]) for row in rows]


async def read_relay_lag(
    connection: "asyncpg.Connection[asyncpg.Record]",
    shards: Sequence[int],
    topics: Sequence[tuple[Feed, Sequence[int]]],
) -> list[ShardLag]:
    """Read the lag behind each topic's numbers, by shard in the order given."""
    heads = await FeedReader(connection).heads(shards)
    ages = [
        [
            0.0 if recorded_at is None else (now - recorded_at).total_seconds()
            for recorded_at, now in await read_next_recorded_at(connection, feed, shards, sequences)
        ]
        for feed, sequences in topics
    ]
    by_shard = zip(zip(*(heads[feed] for feed, _ in topics), strict=True), zip(*ages, strict=True), strict=True)
    return [ShardLag(*of_shard) for of_shard in by_shard]
