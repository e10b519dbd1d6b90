"""A handler that is stuck in a batch is dead within thirty seconds of its clock; one that PostgreSQL keeps is not."""

import asyncio
import signal
import time

import asyncpg

from tests.cases.adapter import World
from tests.conftest import System
from tests.processes.running import Process, until
from tests.telemetry.stuck import TIMES

STUCK_SECONDS = 30 / TIMES


async def send(system: System) -> None:
    await system.outside.send(World().command("upsert_course", {"name": "Modern History"}))


def decided(handler: Process, count: int) -> bool:
    return handler.told("moderation_commands_total") == count


async def test_a_batch_that_stands_still_is_found_stuck_and_one_that_waits_for_postgresql_is_not(
    system: System,
) -> None:
    handler = system.process("handler")
    handler.module = "tests.telemetry.stuck"
    handler.start()
    await handler.ready()

    other = await asyncpg.connect(system.database_url)
    async with other.transaction():
        await other.execute("select 1 from shard for update")
        await send(system)
        waited = time.monotonic() + STUCK_SECONDS
        while time.monotonic() < waited:
            assert await asyncio.to_thread(handler.live) == 200
        assert decided(handler, 0)
    await other.close()
    await until(lambda: decided(handler, 1), "it is decided once PostgreSQL goes on")

    handler.signal(signal.SIGUSR1)
    await send(system)
    sent = time.monotonic()
    await until(lambda: handler.live() == 503, "it is found stuck")
    assert time.monotonic() - sent < STUCK_SECONDS
