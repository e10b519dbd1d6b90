"""What stands in the log and is not on the topics: how many rows of each shard, and how old the oldest is."""

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

# Numbers are dense: the oldest unpublished row is the one with the next number.
UNPUBLISHED = """
select h.position, h.verdict_number, h.dead_letter_number,
       extract(epoch from clock_timestamp() - (select e.recorded_at from event e
                                               where e.shard = k.shard and e.position = k.position + 1)),
       extract(epoch from clock_timestamp() - (select (v.metadata->>'time')::timestamptz from verdict v
                                               where v.shard = k.shard and v.number = k.verdict + 1)),
       extract(epoch from clock_timestamp() - (select d.recorded_at from dead_letter d
                                               where d.shard = k.shard and d.number = k.dead_letter + 1))
from unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bigint[]) k(shard, position, verdict, dead_letter)
join heads($1) h on h.shard = k.shard
order by array_position($1, k.shard)
"""
DEAD_LETTERS = """
select count(*), extract(epoch from clock_timestamp() - min(d.recorded_at)) from dead_letter d
where not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))
"""


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Of one shard. ``heads``, ``ages``: of events, verdicts and dead letters; ages in seconds, 0 if none waits."""

    heads: tuple[int, int, int]
    ages: tuple[float, float, float]


async def unpublished(
    connection: "asyncpg.Connection[asyncpg.Record]",
    shards: Sequence[int],
    positions: Sequence[int],
    verdicts: Sequence[int],
    dead_letters: Sequence[int],
) -> list[Unpublished]:
    """What stands after the given numbers, by shard in the order given."""
    rows = await connection.fetch(UNPUBLISHED, shards, positions, verdicts, dead_letters)
    return [Unpublished((r[0], r[1], r[2]), (float(r[3] or 0), float(r[4] or 0), float(r[5] or 0))) for r in rows]


async def open_dead_letters(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[int, float]:
    """How many dead letters nobody has dealt with, and the age of the oldest in seconds (0 if there is none)."""
    row = await connection.fetchrow(DEAD_LETTERS)
    assert row is not None
    return int(row[0]), float(row[1] or 0)
