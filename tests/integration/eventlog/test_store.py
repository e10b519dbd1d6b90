"""The guarantees of the log, on a real PostgreSQL."""

import asyncio
import itertools
import json
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta

import asyncpg
import pytest

from deploy.local.postgres import create_database
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.encryption_keys import new_encryption_key
from services.eventlog.postgres import READER, WRITER, connect
from services.eventlog.store import EventStore
from services.runtime.errors import describe_error
from tests.fixtures.system import RUN_PREFIX

LOG_TABLES = ["source", "stream", "event", "decided_command", "verdict_body", "dead_letter"]
OpenStore = Callable[[], Awaitable[EventStore]]


@pytest.fixture
async def open_store(database_url: str) -> AsyncIterator[OpenStore]:
    opened: list[asyncpg.Connection[asyncpg.Record]] = []

    async def open_store_connection() -> EventStore:
        opened.append(await asyncpg.connect(database_url))
        return EventStore(opened[-1])

    yield open_store_connection
    for connection in opened:
        await connection.close()


async def build_batch(
    log: EventStore, shards: list[int], source: int, partition: int, offset: int, watermark: int | None = None
) -> AppendBatch:
    """Build a batch with one event and one verdict for each shard, from consecutive records of a partition.

    ``watermark``: the partition's watermark before the batch; None: the offset before ``offset``.
    """
    context = await log.read_batch_context(shards, [])
    batch = AppendBatch(
        source, context.decided_at, context.heads, {partition: offset - 1 if watermark is None else watermark}
    )
    for number, shard in enumerate(shards):
        position = context.heads[shard].position + 1
        batch.add_event(shard, True, 1000 + shard, position, "course_updated", "{}", "{}")
        coordinates = RecordCoordinates(partition, offset + number, 1)
        batch.add_verdict(shard, 1, str(uuid.uuid4()), True, b"hash", coordinates, None, "{}", "{}")
    return batch


async def insert_streams(log: EventStore, shards: list[int]) -> None:
    for shard in shards:
        await log.connection.execute("insert into stream values ($1, 1, $1, null, $2)", 1000 + shard, shard)


async def append_with_retry(log: EventStore, shards: list[int], source: int, partition: int, offset: int) -> None:
    """Append optimistically first, then under the locks, like the handler."""
    if await log.append(await build_batch(log, shards, source, partition, offset)):
        return
    async with log.connection.transaction():
        await log.lock(sorted(shards))
        assert await log.append(await build_batch(log, shards, source, partition, offset))


async def test_concurrent_writers_append_every_row_without_gaps(open_store: OpenStore) -> None:
    writers = [await open_store() for _ in range(20)]
    source = await writers[0].current_incarnation("commands")
    await insert_streams(writers[0], [1, 2, 3])

    async def write(number: int, log: EventStore) -> None:
        for turn in range(10):
            shards = sorted(random.sample([1, 2, 3], 2))
            await append_with_retry(log, shards, source, number, turn * 2)

    await asyncio.gather(*(write(number, log) for number, log in enumerate(writers)))
    rows = await writers[0].connection.fetch(
        "select shard, count(*), min(position), max(position), max(live_number) from event group by shard"
    )
    assert sum(row["count"] for row in rows) == 400
    assert all((1, row["count"], row["count"]) == tuple(row)[2:] for row in rows)
    verdicts = await writers[0].connection.fetch("select shard, count(*), max(number) from verdict group by shard")
    assert all(row["count"] == row["max"] for row in verdicts)


async def test_append_with_a_stale_head_writes_no_rows(open_store: OpenStore) -> None:
    first, second = await open_store(), await open_store()
    source = await first.current_incarnation("commands")
    await insert_streams(first, [1])
    old = await build_batch(first, [1], source, 0, 0)
    assert await second.append(await build_batch(second, [1], source, 1, 0))
    assert not await first.append(old)
    assert await first.connection.fetchval("select count(*) from event") == 1


async def test_append_rejects_an_already_processed_offset(open_store: OpenStore) -> None:
    log = await open_store()
    source = await log.current_incarnation("commands")
    await insert_streams(log, [1, 2])
    assert await log.append(await build_batch(log, [1], source, 0, 5, watermark=-1))
    assert not await log.append(await build_batch(log, [2], source, 0, 5, watermark=-1))
    assert await log.watermarks(source, [0, 1]) == {0: 5, 1: -1}


async def test_append_rejects_a_gap_after_records_that_the_log_lost(open_store: OpenStore) -> None:
    log = await open_store()
    source = await log.current_incarnation("commands")
    await insert_streams(log, [1, 2, 3])
    assert await log.append(await build_batch(log, [1], source, 0, 9, watermark=-1))
    # Records 10 to 19 were processed, and lost by a failover.
    assert not await log.append(await build_batch(log, [2], source, 0, 20, watermark=19))
    assert await log.connection.fetchval("select count(*) from verdict") == 1
    assert await log.watermarks(source, [0]) == {0: 9}


async def test_append_accepts_a_gap_that_the_topic_has(open_store: OpenStore) -> None:
    log = await open_store()
    source = await log.current_incarnation("commands")
    await insert_streams(log, [1])
    assert await log.append(await build_batch(log, [1], source, 0, 9, watermark=-1))
    # Offsets 10 to 19 are transaction markers, not records.
    assert await log.append(await build_batch(log, [1], source, 0, 20, watermark=9))
    assert await log.watermarks(source, [0]) == {0: 20}


async def test_blocked_append_fails_and_its_retry_gets_the_next_position(open_store: OpenStore) -> None:
    slow, quick = await open_store(), await open_store()
    source = await slow.current_incarnation("commands")
    await insert_streams(slow, [1])
    transaction = slow.connection.transaction()
    await transaction.start()
    assert await slow.append(await build_batch(slow, [1], source, 0, 0))
    waiting = asyncio.create_task(quick.append(await build_batch(quick, [1], source, 1, 0)))
    blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%append%'"
    observer = await open_store()
    while not await observer.connection.fetchval(blocked):
        assert not waiting.done()
    assert await observer.connection.fetchval("select count(*) from event") == 0
    await transaction.commit()
    assert not await waiting
    assert await quick.append(await build_batch(quick, [1], source, 1, 0))
    positions = await observer.connection.fetch("select v.partition, v.number from verdict v order by v.number")
    assert [tuple(row) for row in positions] == [(0, 1), (1, 2)]


async def test_concurrent_appends_of_the_same_ids_in_opposite_order_do_not_deadlock(open_store: OpenStore) -> None:
    writers = [await open_store(), await open_store()]
    source = await writers[0].current_incarnation("commands")
    for turn in range(30):
        ids = [str(uuid.uuid4()), str(uuid.uuid4())]
        batches = []
        for number, log in enumerate(writers):
            context = await log.read_batch_context([number], [])
            batch = AppendBatch(source, context.decided_at, context.heads, await log.watermarks(source, [number]))
            for step, command_id in enumerate(ids if number else reversed(ids)):
                coordinates = RecordCoordinates(number, turn * 2 + step, 1)
                batch.add_verdict(number, 1, command_id, True, b"hash", coordinates, None, "{}", "{}")
            batches.append(log.append(batch))
        outcomes = await asyncio.gather(*batches, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not True] == [asyncpg.UniqueViolationError]


@pytest.mark.parametrize("what", ["assignments", "courses", "days"])
async def test_concurrent_appends_of_the_same_streams_or_keys_in_opposite_order_do_not_deadlock(
    open_store: OpenStore, what: str
) -> None:
    writers = [await open_store(), await open_store()]
    source = await writers[0].current_incarnation("commands")
    stream_numbers, ids_per_batch = itertools.count(1), 50
    for turn in range(30):
        appends = []
        for shard, log in enumerate(writers):
            context = await log.read_batch_context([shard], [])
            batch = AppendBatch(source, context.decided_at, context.heads, await log.watermarks(source, [shard]))
            coordinates = RecordCoordinates(shard, turn, 1)
            batch.add_verdict(shard, 1, str(uuid.uuid4()), True, b"hash", coordinates, None, "{}", "{}")
            for step in range(ids_per_batch):
                id_ = turn * ids_per_batch + 1 + (step if shard else ids_per_batch - 1 - step)
                if what == "days":
                    batch.new_day_keys[date(2026, 1, 1) + timedelta(days=id_)] = new_encryption_key()
                else:
                    course, assignment = (id_, None) if what == "courses" else (1, id_)
                    batch.add_stream(next(stream_numbers), 1, course, assignment, shard)
            appends.append(log.append(batch))
        outcomes = await asyncio.gather(*appends, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not True] == [asyncpg.UniqueViolationError]


@pytest.mark.parametrize("table", ["installation", "shard", *LOG_TABLES, "verdict_body_default"])
@pytest.mark.parametrize("change", ["update {0} set {1} = {1}", "delete from {0}", "truncate {0} cascade"])
@pytest.mark.parametrize("role", ["origin", "replica"])
async def test_log_tables_are_append_only(open_store: OpenStore, table: str, change: str, role: str) -> None:
    log = await open_store()
    await log.connection.execute(f"set session_replication_role = {role}")
    column = {"source": "topic", "stream": "course", "installation": "shards"}.get(table, "shard")
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await log.connection.execute(change.format(table, column))


@pytest.mark.parametrize("table", LOG_TABLES)
async def test_process_roles_cannot_change_written_rows(database_url: str, table: str) -> None:
    writer, reader = await connect(database_url, "test", WRITER), await connect(database_url, "test", READER)
    try:
        column = {"source": "topic", "stream": "course", "installation": "shards"}.get(table, "shard")
        for change in (f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await writer.execute(change)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute(f"insert into {table} default values")
    finally:
        await writer.close()
        await reader.close()


async def test_missing_schema_error_names_the_migrate_command(postgres: str) -> None:
    connection = await asyncpg.connect(create_database(postgres, f"{RUN_PREFIX}-empty"))
    try:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await EventStore(connection).read_batch_context([1], [])
    finally:
        await connection.close()
    assert "moderated-grading admin migrate" in describe_error(refused.value)


async def test_event_bytes_are_stored_unchanged(open_store: OpenStore) -> None:
    log = await open_store()
    source = await log.current_incarnation("commands")
    await insert_streams(log, [1])
    context = await log.read_batch_context([1], [])
    batch = AppendBatch(source, context.decided_at, context.heads, {})
    written = '{"b": 1.0,  "a":"é", "b2":1e2}'
    batch.add_event(1, False, 1001, 1, "course_updated", written, json.dumps({}))
    assert await log.append(batch)
    assert [[event.data for event in events] async for events in log.events([1001])] == [[written]]
