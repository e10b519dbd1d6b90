"""The log's own promises, on a real PostgreSQL."""

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from deploy.local.postgres import create_database
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.postgres import READER, WRITER, connect, describe_postgres_error
from services.eventlog.store import EventStore
from tests.conftest import RUN

Connect = Callable[[], Awaitable[EventStore]]


@pytest.fixture
async def logs(database_url: str) -> AsyncIterator[Connect]:
    opened: list[asyncpg.Connection[asyncpg.Record]] = []

    async def connect() -> EventStore:
        opened.append(await asyncpg.connect(database_url))
        return EventStore(opened[-1])

    yield connect
    for connection in opened:
        await connection.close()


async def batch_of(log: EventStore, shards: list[int], source: int, partition: int, offset: int) -> AppendBatch:
    """One event and one verdict on each shard, from successive records of a partition."""
    found = await log.read_batch_context(shards, [])
    batch = AppendBatch(source, found.decided_at, found.heads, {partition: offset})
    for number, shard in enumerate(shards):
        position = found.heads[shard].position + 1
        batch.add_event(shard, True, 1000 + shard, position, "course_updated", "{}", "{}")
        place = RecordCoordinates(partition, offset + number, 1)
        batch.add_verdict(shard, 1, str(uuid.uuid4()), True, b"hash", place, None, "{}", "{}")
    return batch


async def streams(log: EventStore, shards: list[int]) -> None:
    for shard in shards:
        await log.connection.execute("insert into stream values ($1, 1, $1, null, $2)", 1000 + shard, shard)


async def appended(log: EventStore, shards: list[int], source: int, partition: int, offset: int) -> None:
    """Optimistic first, then under the locks: as the handler does."""
    if await log.append(await batch_of(log, shards, source, partition, offset)):
        return
    async with log.connection.transaction():
        await log.lock(sorted(shards))
        assert await log.append(await batch_of(log, shards, source, partition, offset))


async def test_twenty_writers_at_once_lose_nothing_and_leave_no_hole(logs: Connect) -> None:
    writers = [await logs() for _ in range(20)]
    source = await writers[0].current_incarnation("commands")
    await streams(writers[0], [1, 2, 3])

    async def write(number: int, log: EventStore) -> None:
        for turn in range(10):
            shards = sorted(random.sample([1, 2, 3], 2))
            await appended(log, shards, source, number, turn * 2)

    await asyncio.gather(*(write(number, log) for number, log in enumerate(writers)))
    rows = await writers[0].connection.fetch(
        "select shard, count(*), min(position), max(position), max(live_number) from event group by shard"
    )
    assert sum(row["count"] for row in rows) == 400
    assert all((1, row["count"], row["count"]) == tuple(row)[2:] for row in rows)
    verdicts = await writers[0].connection.fetch("select shard, count(*), max(number) from verdict group by shard")
    assert all(row["count"] == row["max"] for row in verdicts)


async def test_a_batch_decided_on_an_old_view_writes_nothing(logs: Connect) -> None:
    first, second = await logs(), await logs()
    source = await first.current_incarnation("commands")
    await streams(first, [1])
    old = await batch_of(first, [1], source, 0, 0)
    assert await second.append(await batch_of(second, [1], source, 1, 0))
    assert not await first.append(old)
    assert await first.connection.fetchval("select count(*) from event") == 1


async def test_a_record_is_never_decided_twice(logs: Connect) -> None:
    log = await logs()
    source = await log.current_incarnation("commands")
    await streams(log, [1, 2])
    assert await log.append(await batch_of(log, [1], source, 0, 5))
    assert not await log.append(await batch_of(log, [2], source, 0, 5))
    assert await log.watermarks(source, [0, 1]) == {0: 5, 1: -1}


async def test_a_writer_that_commits_late_takes_the_later_position(logs: Connect) -> None:
    slow, quick = await logs(), await logs()
    source = await slow.current_incarnation("commands")
    await streams(slow, [1])
    transaction = slow.connection.transaction()
    await transaction.start()
    assert await slow.append(await batch_of(slow, [1], source, 0, 0))
    waiting = asyncio.create_task(quick.append(await batch_of(quick, [1], source, 1, 0)))
    blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%append%'"
    observer = await logs()
    while not await observer.connection.fetchval(blocked):
        assert not waiting.done()
    assert await observer.connection.fetchval("select count(*) from event") == 0
    await transaction.commit()
    assert not await waiting
    assert await quick.append(await batch_of(quick, [1], source, 1, 0))
    positions = await observer.connection.fetch("select v.partition, v.number from verdict v order by v.number")
    assert [tuple(row) for row in positions] == [(0, 1), (1, 2)]


async def test_two_writers_of_the_same_two_ids_in_opposite_order_do_not_deadlock(logs: Connect) -> None:
    writers = [await logs(), await logs()]
    source = await writers[0].current_incarnation("commands")
    for turn in range(30):
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        batches = []
        for number, log in enumerate(writers):
            found = await log.read_batch_context([number], [])
            batch = AppendBatch(source, found.decided_at, found.heads, {number: turn * 2})
            for step, command_id in enumerate(ids if number else reversed(ids)):
                place = RecordCoordinates(number, turn * 2 + step, 1)
                batch.add_verdict(number, 1, command_id, True, b"hash", place, None, "{}", "{}")
            batches.append(log.append(batch))
        outcomes = await asyncio.gather(*batches, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not True] == [asyncpg.UniqueViolationError]


@pytest.mark.parametrize("table", ["shard", "source", "stream", "event", "verdict", "dead_letter"])
@pytest.mark.parametrize("change", ["update {0} set {1} = {1}", "delete from {0}", "truncate {0} cascade"])
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_the_log_refuses_every_change(logs: Connect, table: str, change: str, role: str) -> None:
    log = await logs()
    await log.connection.execute(f"set session_replication_role = {role}")
    column = {"source": "topic", "stream": "course"}.get(table, "shard")
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await log.connection.execute(change.format(table, column))


@pytest.mark.parametrize("table", ["source", "stream", "event", "verdict", "dead_letter"])
async def test_the_processes_have_no_right_to_change_what_is_written(database_url: str, table: str) -> None:
    writer, reader = await connect(database_url, "test", WRITER), await connect(database_url, "test", READER)
    try:
        column = {"source": "topic", "stream": "course"}.get(table, "shard")
        for change in (f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writer.execute(change)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"insert into {table} default values")
    finally:
        await writer.close()
        await reader.close()


async def test_a_database_without_the_schema_is_named_with_its_remedy(postgres: str) -> None:
    connection = await asyncpg.connect(create_database(postgres, f"{RUN}-empty"))
    try:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await EventStore(connection).read_batch_context([1], [])
    finally:
        await connection.close()
    assert "python -m services.eventlog.migrate" in describe_postgres_error(refused.value)


async def test_the_bytes_of_an_event_are_kept(logs: Connect) -> None:
    log = await logs()
    source = await log.current_incarnation("commands")
    await streams(log, [1])
    found = await log.read_batch_context([1], [])
    batch = AppendBatch(source, found.decided_at, found.heads, {})
    written = '{"b": 1.0,  "a":"é", "b2":1e2}'
    batch.add_event(1, False, 1001, 1, "course_updated", written, json.dumps({}))
    assert await log.append(batch)
    assert [[event.data for event in events] async for events in log.events([1001])] == [[written]]
