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
from tests.cases.adapter import World
from tests.conftest import System
from tests.faults.steps import Sending, count, courses, send_all, started, until_decided
from tests.processes.running import DEADLINE_SECONDS, Process, until

# An acknowledgement that was on its way when the handler was stopped has arrived before so many questions are answered.
LOOKS = 20
LOCKED = SHARD_COUNT - 1


@asynccontextmanager
async def connected(system: System) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(system.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def unacknowledged(system: System, admin: AIOKafkaAdminClient) -> int:
    """How many decided records the group has not acknowledged."""
    offsets = await admin.list_consumer_group_offsets(f"{system.prefix}.handler")
    acknowledged = {place.partition: found.offset for place, found in offsets.items()}
    async with connected(system) as connection:
        decided = await connection.fetch('select partition, max("offset") + 1 from verdict group by 1')
    return sum(end - max(acknowledged.get(partition, 0), 0) for partition, end in decided)


async def killed_before_acknowledging(system: System, handler: Process) -> int:
    """Kill the handler when its last batch is committed and not acknowledged; how many records that are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    try:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            while True:
                handler.signal(signal.SIGSTOP)
                found = [await unacknowledged(system, admin)]
                while found[-1] and len(found) < LOOKS:
                    found.append(await unacknowledged(system, admin))
                if found[-1]:
                    handler.kill()
                    return found[-1]
                handler.signal(signal.SIGCONT)
                await asyncio.sleep(0.002)
    finally:
        await admin.close()


async def test_what_was_committed_and_not_acknowledged_is_not_decided_twice(system: System) -> None:
    handler = await started(system)
    sending = Sending(system)
    await until_decided(system, 100)
    for _ in range(2):
        assert await killed_before_acknowledging(system, handler) > 0
        handler.start()
        await handler.ready()
    await sending.end()
    await until_decided(system, len(sending.ids))
    assert (await count(system), await count(system, "event")) == (len(sending.ids), len(sending.ids))
    async with connected(system) as connection:
        assert await connection.fetchval("select bool_and(first) from verdict")


async def test_a_handler_that_is_stopped_in_good_order_has_acknowledged_all_that_it_decided(system: System) -> None:
    handler = await started(system)
    sending = Sending(system)
    await until_decided(system, 100)
    assert handler.stop() == 0
    await sending.end()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    try:
        assert await count(system) >= 100
        assert await unacknowledged(system, admin) == 0
    finally:
        await admin.close()


async def until_appending(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    """The handler's backend, once its append waits for a lock."""
    waiting = (
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and application_name = 'moderation-handler' and query like 'select append(%'"
    )
    return int(await until(lambda: connection.fetchval(waiting), "an append waits"))


async def backend_ends(log: EventStore, pid: int) -> None:
    assert await log.connection.fetchval("select pg_terminate_backend($1)", pid)


async def somebody_else_writes(log: EventStore, pid: int) -> None:
    found = await log.read_batch_context([LOCKED], [])
    batch = AppendBatch(await log.current_incarnation("another topic"), found.decided_at, found.heads, {})
    batch.add_dead_letter(LOCKED, RecordCoordinates(0, 0, 1), None, None, b"[]", "empty", "the record has no value")
    assert await log.append(batch)


@pytest.mark.parametrize("fails", [backend_ends, somebody_else_writes])
async def test_a_batch_over_several_partitions_that_fails_once_is_decided_once(
    system: System, fails: Callable[[EventStore, int], Awaitable[None]]
) -> None:
    handler = await started(system, HANDLER_SUBSCRIBERS="1")
    commands = courses(600)
    await send_all(system, commands[:200])
    await until_decided(system, 200)
    # Activity is seen as of the first look of a transaction: the one that looks holds no lock.
    async with connected(system) as observer, connected(system) as connection:
        log = EventStore(connection)
        async with connection.transaction():
            await log.lock([LOCKED])
            handler.signal(signal.SIGSTOP)
            await send_all(system, commands[200:])
            handler.signal(signal.SIGCONT)
            await fails(log, await until_appending(observer))
        await until_decided(system, len(commands))
        assert (await count(system), await count(system, "event")) == (len(commands), len(commands))
        assert await connection.fetchval("select count(distinct partition) from verdict") == SHARD_COUNT
        over = "select count(distinct partition) from verdict where number > 1 group by xmin::text order by 1 desc"
        assert await connection.fetchval(over) > 1, "no batch was over several partitions"


FROM_THE_FUTURE = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select e.shard, (select max(position) from event where shard = e.shard) + 1, e.stream, e.version + 1,
       'course_dissolved', 1, e.data, e.metadata, e.recorded_at
from event e join stream s on s.number = e.stream where s.course = $1
"""


async def test_what_this_code_cannot_decide_holds_up_its_partition_alone_and_is_not_tried_without_a_pause(
    system: System,
) -> None:
    handler = await started(system, HANDLER_SUBSCRIBERS="1")
    commands = courses(12)
    await send_all(system, commands)
    await until_decided(system, len(commands))
    of_shard = {get_course_shard(int(command["course_id"])): command["course_id"] for command in commands}
    (bad_shard, bad), (_, good) = list(of_shard.items())[:2]
    async with connected(system) as connection:
        await connection.execute(FROM_THE_FUTURE, int(bad))
    handler.signal(signal.SIGSTOP)
    asked = {
        course: World().command("upsert_course", {"name": "again"}) | {"course_id": course} for course in (bad, good)
    }
    await send_all(system, list(asked.values()))
    handler.signal(signal.SIGCONT)
    bad_since = time.monotonic()
    await until_decided(system, len(commands) + 1)
    await until(lambda: f"partition {bad_shard} cannot be decided" in handler.health()[1], "the handler says so")
    # What came later for others is decided too, and each try is one line or two, not thousands.
    await send_all(system, [{**asked[good], "command_id": str(uuid.uuid4())}])
    await until_decided(system, len(commands) + 2)
    tries = 1 + (time.monotonic() - bad_since) / RETRY_SECONDS[-1]
    assert len(handler.log.read_text().splitlines()) < 20 + 4 * tries
    async with connected(system) as connection:
        settled = "select count(*) from verdict where command_id = $1"
        assert await connection.fetchval(settled, asked[bad]["command_id"]) == 0
