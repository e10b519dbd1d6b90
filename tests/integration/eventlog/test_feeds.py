"""The relay reads bounded chunks regardless of the size of rows, and misses none."""

import json

import asyncpg
import pytest

from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.feeds import Feed, FeedReader, FeedRow
from services.eventlog.store import EventStore
from services.eventlog.stored_events import BYTES_PER_FETCH

SHARDS = [3, 7]
KIB = 1 << 10


async def append_rows(log: EventStore) -> None:
    """Append ten events, verdicts and dead letters to two shards, the n-th of n KiB; publish every second event."""
    context = await log.read_batch_context(SHARDS, [])
    batch = AppendBatch(await log.current_incarnation("commands"), context.decided_at, context.heads, {0: -1})
    offset = 0
    for shard in SHARDS:
        await log.connection.execute("insert into stream values ($1, 1, $1, null, $2)", 1000 + shard, shard)
        for n in range(1, 11):
            text = json.dumps("x" * n * KIB)
            batch.add_event(shard, n % 2 == 0, 1000 + shard, n, "course_updated", text, "{}")
            command = f"00000000-0000-4000-8000-{offset:012d}"
            batch.add_verdict(shard, 1, command, True, b"hash", RecordCoordinates(0, offset, 1), None, text, "{}")
            batch.add_dead_letter(
                shard, RecordCoordinates(0, offset + 1, 1), None, b"x" * n * KIB, b"[]", "empty", "no value"
            )
            offset += 2
    assert await log.append(batch)


async def append_small_values(log: EventStore) -> None:
    """Append ten verdicts with keys of 1 KiB, and ten dead letters with keys and headers of 1 KiB together."""
    context = await log.read_batch_context(SHARDS[:1], [])
    batch = AppendBatch(await log.current_incarnation("commands"), context.decided_at, context.heads, {0: -1})
    for n in range(10):
        command, offset = f"00000000-0000-4000-8000-{n:012d}", 2 * n
        coordinates, letter = RecordCoordinates(0, offset, 1), RecordCoordinates(0, offset + 1, 1)
        batch.add_verdict(SHARDS[0], 1, command, True, b"hash", coordinates, b"k" * KIB, "{}", "{}")
        batch.add_dead_letter(SHARDS[0], letter, b"k" * (KIB // 2), b"", b"h" * (KIB // 2), "empty", "no value")
    assert await log.append(batch)


@pytest.mark.parametrize("series", ["verdicts", "dead_letters"])
async def test_keys_and_headers_count_toward_the_byte_limit(database_url: str, series: Feed) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await append_small_values(EventStore(connection))

        rows = await FeedReader(connection).read(series, SHARDS[:1], [0], [10], 1_000, 3 * KIB)

        assert [row_number(series, row) for row in rows] == [1, 2, 3]
    finally:
        await connection.close()


def row_number(series: Feed, row: FeedRow) -> int | None:
    return row[2] if series == "published" else row[1]  # type: ignore[return-value]


@pytest.mark.parametrize("series", ["events", "published", "verdicts", "dead_letters"])
async def test_feed_read_stops_at_row_or_byte_limit_and_returns_at_least_one_row(
    database_url: str, series: Feed
) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await append_rows(EventStore(connection))
        tail = FeedReader(connection)
        heads = (await tail.heads(SHARDS))[series]
        last = 5 if series == "published" else 10
        assert heads == [last, last]

        async def numbers(after: list[int], until: list[int], rows_max: int, bytes_max: int) -> list[tuple[int, int]]:
            rows = await tail.read(series, SHARDS, after, until, rows_max, bytes_max)
            return [(row.shard, row_number(series, row) or 0) for row in rows]

        everything = [(shard, n) for shard in SHARDS for n in range(1, last + 1)]
        assert await numbers([0, 0], heads, 1_000, 1 << 30) == everything
        assert await numbers([0, 0], heads, 2, 1 << 30) == [(3, 1), (3, 2), (7, 1), (7, 2)]
        assert await numbers([0, 3], [2, 4], 1_000, 1 << 30) == [(3, 1), (3, 2), (7, 4)]
        assert await numbers([last - 1, last - 1], heads, 1_000, 1) == [(3, last), (7, last)]
        first_two = 6 * KIB if series == "published" else 3 * KIB
        assert await numbers([0, last], heads, 1_000, first_two) == [(3, 1), (3, 2)]
        assert await numbers([0, last], heads, 1_000, first_two + 100) == [(3, 1), (3, 2), (3, 3)]
    finally:
        await connection.close()


WAITING_VERDICTS = """
with decided as (
    insert into decided_command
    select 0, n, 1, gen_random_uuid(), true, 'hash', $1::smallint, 0, n, 0, now()
    from generate_series($2::int, $3::int) n
    returning number)
insert into verdict_body select now(), 0, d.number, null, v.body, '{}'
from decided d, (
    select json_build_object('errors', json_agg(json_build_object('path', 'data.users.' || i || '.name', 'message',
                                                                  'must be a string'))) as body
    from generate_series(1, 32000) i) v
"""
DECOMPRESSED_BLOCKS = """
select sum(pg_stat_get_xact_blocks_fetched(c.reltoastrelid))::bigint
from pg_class c where c.oid in (select i.inhrelid from pg_inherits i where i.inhparent = 'verdict_body'::regclass)
"""


async def test_cost_of_reading_large_verdicts_does_not_grow_with_those_that_wait(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        source = await EventStore(connection).current_incarnation("commands")
        feed_reader, waiting, costs = FeedReader(connection), 0, []
        for number in (20, 100):
            # Of two megabytes, as a verdict that lists the errors of a large command.
            await connection.execute(WAITING_VERDICTS, source, waiting + 1, number)
            waiting = number
            async with connection.transaction(isolation="repeatable_read"):
                before = await connection.fetchval(DECOMPRESSED_BLOCKS)
                rows = await feed_reader.read("verdicts", [0], [0], [waiting], 5_000, 1 << 20)
                costs.append(await connection.fetchval(DECOMPRESSED_BLOCKS) - before)
            assert [row_number("verdicts", row) for row in rows] == [1]

        assert 0 < costs[0] == costs[1]
    finally:
        await connection.close()


async def read_page_sizes(feed_reader: FeedReader, before: int) -> list[int]:
    """Read the pages of course 1's updates before a position and return the characters of each; all are read once."""
    positions, sizes = [], []
    async for page in feed_reader.users_updated_events(1, 1, 0, before):
        positions += [position for position, _ in page]
        sizes.append(sum(len(data or "") for _, data in page))
    assert positions == list(range(1, before))
    return sizes


async def test_rosters_of_a_course_are_read_in_pages_of_a_limited_size(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("insert into stream values (1, 1, 1, null, 0)")
        # Texts that do not compress, as encrypted ones do not, of half a megabyte.
        await connection.execute(
            "insert into event select 0, n, null, 1, n, 'users_updated', 1, json_build_object('text',"
            " (select string_agg(md5(n::text || i), '') from generate_series(1, 16384) i)), '{}', now()"
            " from generate_series(1, 200) n"
        )
        feed_reader = FeedReader(connection)

        few, many = [await read_page_sizes(feed_reader, number + 1) for number in (20, 200)]

        assert max(many) < max(few) * 1.2
        assert max(many) < BYTES_PER_FETCH * 1.5
        assert [position async for page in feed_reader.users_updated_events(1, 2, 0, 9) for position in page] == []
    finally:
        await connection.close()
