"""A handler killed before it acknowledged what it committed, and an append that fails: every record decided once."""

import asyncio
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.store import EventStore
from services.handler.consumer import RETRY_SECONDS
from services.kafka.partitioning import SHARD_COUNT, get_course_shard
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import (
    BackgroundSender,
    count_rows,
    course_commands,
    send_all,
    start_handler,
    wait_until_processed,
)
from tests.fixtures.process_runner import DEADLINE_SECONDS, Process, wait_until
from tests.fixtures.system import System

# An acknowledgement that was on its way when the handler was stopped has arrived before so many questions are answered.
POLLS = 20
LOCKED = SHARD_COUNT - 1


@asynccontextmanager
async def connected(system: System) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(system.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def count_uncommitted(system: System, admin: AIOKafkaAdminClient) -> int:
    """How many decided records the group has not acknowledged."""
    offsets = await admin.list_consumer_group_offsets(f"{system.prefix}.handler")
    acknowledged = {place.partition: found.offset for place, found in offsets.items()}
    async with connected(system) as connection:
        decided = await connection.fetch('select partition, max("offset") + 1 from verdict group by 1')
    return sum(end - max(acknowledged.get(partition, 0), 0) for partition, end in decided)


async def kill_before_offset_commit(system: System, handler: Process) -> int:
    """Kill the handler when its last batch is committed and not acknowledged; how many records that are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            while True:
                handler.signal(signal.SIGSTOP)
                uncommitted_counts = [await count_uncommitted(system, admin)]
                while uncommitted_counts[-1] and len(uncommitted_counts) < POLLS:
                    uncommitted_counts.append(await count_uncommitted(system, admin))
                if uncommitted_counts[-1]:
                    handler.kill()
                    return uncommitted_counts[-1]
                handler.signal(signal.SIGCONT)
                await asyncio.sleep(0.002)
    finally:
        await admin.close()


async def test_handler_killed_before_the_offset_commit_causes_no_duplicate_verdict(system: System) -> None:
    handler = await start_handler(system)
    sending = BackgroundSender(system)
    await wait_until_processed(system, 100)
    for _ in range(2):
        assert await kill_before_offset_commit(system, handler) > 0
        handler.start()
        await handler.wait_until_ready()
    await sending.stop()
    await wait_until_processed(system, len(sending.command_ids))
    assert (await count_rows(system), await count_rows(system, "event")) == (
        len(sending.command_ids),
        len(sending.command_ids),
    )
    async with connected(system) as connection:
        assert await connection.fetchval("select bool_and(first) from verdict")


async def test_graceful_shutdown_commits_the_offsets_of_all_processed_records(system: System) -> None:
    handler = await start_handler(system)
    sending = BackgroundSender(system)
    await wait_until_processed(system, 100)
    assert handler.stop() == 0
    await sending.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    try:
        assert await count_rows(system) >= 100
        assert await count_uncommitted(system, admin) == 0
    finally:
        await admin.close()


async def wait_for_blocked_append(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """The handler's backend, once its append waits for a lock."""
    waiting = (
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and application_name = 'moderation-handler' and query like 'select append(%'"
    )
    return int(await wait_until(lambda: connection.fetchval(waiting), "an append waits"))


async def terminate_backend(log: EventStore, pid: int) -> None:
    assert await log.connection.fetchval("select pg_terminate_backend($1)", pid)


async def append_concurrently(log: EventStore, pid: int) -> None:
    context = await log.read_batch_context([LOCKED], [])
    batch = AppendBatch(await log.current_incarnation("another topic"), context.decided_at, context.heads, {})
    batch.add_dead_letter(LOCKED, RecordCoordinates(0, 0, 1), None, None, b"[]", "empty", "the record has no value")
    assert await log.append(batch)


@pytest.mark.parametrize("fails", [terminate_backend, append_concurrently])
async def test_batch_over_several_partitions_is_processed_once_after_a_failed_append(
    system: System, fails: Callable[[EventStore, int], Awaitable[None]]
) -> None:
    handler = await start_handler(system, HANDLER_SUBSCRIBERS="1")
    commands = course_commands(600)
    await send_all(system, commands[:200])
    await wait_until_processed(system, 200)
    # Activity is seen as of the first look of a transaction: the one that looks holds no lock.
    async with connected(system) as observer, connected(system) as connection:
        log = EventStore(connection)
        async with connection.transaction():
            await log.lock([LOCKED])
            handler.signal(signal.SIGSTOP)
            await send_all(system, commands[200:])
            handler.signal(signal.SIGCONT)
            await fails(log, await wait_for_blocked_append(observer))
        await wait_until_processed(system, len(commands))
        assert (await count_rows(system), await count_rows(system, "event")) == (len(commands), len(commands))
        assert await connection.fetchval("select count(distinct partition) from verdict") == SHARD_COUNT
        over = "select count(distinct partition) from verdict where number > 1 group by xmin::text order by 1 desc"
        assert await connection.fetchval(over) > 1, "no batch was over several partitions"


INSERT_UNKNOWN_EVENT = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select e.shard, (select max(position) from event where shard = e.shard) + 1, e.stream, e.version + 1,
       'course_dissolved', 1, e.data, e.metadata, e.recorded_at
from event e join stream s on s.number = e.stream where s.course = $1
"""


async def test_undecidable_record_pauses_only_its_partition_and_is_retried_with_backoff(
    system: System,
) -> None:
    handler = await start_handler(system, HANDLER_SUBSCRIBERS="1")
    commands = course_commands(12)
    await send_all(system, commands)
    await wait_until_processed(system, len(commands))
    of_shard = {get_course_shard(int(command["course_id"])): command["course_id"] for command in commands}
    (bad_shard, bad), (_, good) = list(of_shard.items())[:2]
    async with connected(system) as connection:
        await connection.execute(INSERT_UNKNOWN_EVENT, int(bad))
    handler.signal(signal.SIGSTOP)
    asked = {
        course: World().command("upsert_course", {"name": "again"}) | {"course_id": course} for course in (bad, good)
    }
    await send_all(system, list(asked.values()))
    handler.signal(signal.SIGCONT)
    bad_since = time.monotonic()
    await wait_until_processed(system, len(commands) + 1)
    await wait_until(
        lambda: f"partition {bad_shard} cannot be decided" in handler.get_readiness()[1], "the handler says so"
    )
    # What came later for others is decided too, and each try is one line or two, not thousands.
    await send_all(system, [{**asked[good], "command_id": str(uuid.uuid4())}])
    await wait_until_processed(system, len(commands) + 2)
    tries = 1 + (time.monotonic() - bad_since) / RETRY_SECONDS[-1]
    assert len(handler.log.read_text().splitlines()) < 20 + 4 * tries
    async with connected(system) as connection:
        settled = "select count(*) from verdict where command_id = $1"
        assert await connection.fetchval(settled, asked[bad]["command_id"]) == 0
