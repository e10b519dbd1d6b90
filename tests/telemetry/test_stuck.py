"""A handler that is stuck in a batch is dead within thirty seconds of its clock; one that PostgreSQL keeps is not."""

import re
import signal

import asyncpg

from tests.cases.adapter import World
from tests.conftest import System
from tests.processes.running import Process, until
from tests.telemetry.stuck import PASSED, STANDS_STILL

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def send(system: System) -> None:
    await system.outside.send(World().command("upsert_course", {"name": "Modern History"}))


def decided(handler: Process, count: int) -> bool:
    return handler.told("moderation_commands_total") == count


async def half_a_minute_passes(handler: Process) -> None:
    passed = handler.log.read_text().count(PASSED)
    handler.signal(signal.SIGUSR2)
    await until(lambda: handler.log.read_text().count(PASSED) > passed, PASSED)


async def test_a_batch_that_stands_still_is_found_stuck_and_one_that_waits_for_postgresql_is_not(
    system: System,
) -> None:
    handler = system.process("handler")
    handler.module = "tests.telemetry.stuck"
    handler.start()
    await handler.ready()

    other, observer = [await asyncpg.connect(system.database_url) for _ in range(2)]
    async with other.transaction():
        await other.execute("select 1 from shard for update")
        await send(system)
        await until(lambda: observer.fetchval(WAITING), "the batch waits for PostgreSQL")
        await half_a_minute_passes(handler)
        # The loops that wait for nothing give a sign again within a second or two.
        await until(lambda: handler.said_on("live") == (200, "live"), "no loop is stuck")
        assert decided(handler, 0)
    for connection in (other, observer):
        await connection.close()
    await until(lambda: decided(handler, 1), "it is decided once PostgreSQL goes on")

    handler.signal(signal.SIGUSR1)
    await send(system)
    await until(lambda: STANDS_STILL in handler.log.read_text(), STANDS_STILL)
    await half_a_minute_passes(handler)
    # That loop alone: the others have given a sign since.
    await until(lambda: re.fullmatch(r"stuck: commands-\d", handler.said_on("live")[1]), "it is found stuck")
    assert handler.said_on("live")[0] == 503
