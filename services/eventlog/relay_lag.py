"""What stands in the log and is not on the topics: how many rows of each shard, and how old the oldest is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from services.eventlog.feeds import Feed, FeedReader

# Numbers are dense: the oldest unpublished row is the one with the next number.
NEXT_RECORDED_AT: Mapping[Feed, str] = {
    "events": "(select e.recorded_at from event e where e.shard = k.shard and e.position = k.number + 1)",
    "published": "(select e.recorded_at from event e where e.shard = k.shard and e.live_number = k.number + 1)",
    "verdicts": "(select (v.metadata ->> 'time')::timestamptz from verdict v"
    " where v.shard = k.shard and v.number = k.number + 1)",
    "dead_letters": "(select d.recorded_at from dead_letter d where d.shard = k.shard and d.number = k.number + 1)",
}
OLDEST_AGES = """
select extract(epoch from clock_timestamp() - {recorded_at})
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
"""


@dataclass(frozen=True, slots=True)
class ShardLag:
    """Of one shard, by topic in the order asked for: heads, and ages in seconds of the oldest row (0 if none waits)."""

    heads: tuple[int, ...]
    ages: tuple[float, ...]


async def read_relay_lag(
    connection: "asyncpg.Connection[asyncpg.Record]",
    shards: Sequence[int],
    topics: Sequence[tuple[Feed, Sequence[int]]],
) -> list[ShardLag]:
    """What stands after the numbers that each topic is at, by shard in the order given."""
    heads = await FeedReader(connection).heads(shards)
    ages = [
        [
            float(row[0] or 0)
            for row in await connection.fetch(OLDEST_AGES.format(recorded_at=NEXT_RECORDED_AT[series]), shards, at)
        ]
        for series, at in topics
    ]
    by_shard = zip(zip(*(heads[series] for series, _ in topics), strict=True), zip(*ages, strict=True), strict=True)
    return [ShardLag(*of_shard) for of_shard in by_shard]
