"""A handler that hangs in a batch is not live after thirty seconds; one that waits for PostgreSQL stays live."""

import re
import signal

import asyncpg

from tests.fixtures.canvas.adapter import World
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import System
from tests.integration.telemetry.hanging_handler import BATCH_HANGS, TIME_SKIPPED

WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def send_command(system: System) -> None:
    await system.client.send(World().command("upsert_course", {"name": "Modern History"}))


def has_processed(handler: Process, count: int) -> bool:
    return handler.get_metric("moderation_commands_total") == count


async def skip_half_a_minute(handler: Process) -> None:
    passed = handler.log.read_text().count(TIME_SKIPPED)
    handler.signal(signal.SIGUSR2)
    await wait_until(lambda: handler.log.read_text().count(TIME_SKIPPED) > passed, TIME_SKIPPED)


async def test_hanging_batch_is_reported_as_stalled_and_postgresql_wait_is_not(
    system: System,
) -> None:
    handler = system.create_process("handler")
    handler.module = "tests.integration.telemetry.hanging_handler"
    handler.start()
    await handler.wait_until_ready()

    other, observer = [await asyncpg.connect(system.database_url) for _ in range(2)]
    async with other.transaction():
        await other.execute("select 1 from shard for update")
        await send_command(system)
        await wait_until(lambda: observer.fetchval(WAITING), "the batch waits for PostgreSQL")
        await skip_half_a_minute(handler)
        # Loops that wait for nothing send a heartbeat within a second or two.
        await wait_until(lambda: handler.get_health_page("live") == (200, "live"), "no loop is stuck")
        assert has_processed(handler, 0)
    for connection in (other, observer):
        await connection.close()
    await wait_until(lambda: has_processed(handler, 1), "it is decided once PostgreSQL goes on")

    handler.signal(signal.SIGUSR1)
    await send_command(system)
    await wait_until(lambda: BATCH_HANGS in handler.log.read_text(), BATCH_HANGS)
    await skip_half_a_minute(handler)
    # Only that loop: the others have sent heartbeats since.
    await wait_until(
        lambda: re.fullmatch(r"stuck: commands-\d", handler.get_health_page("live")[1]), "it is found stuck"
    )
    assert handler.get_health_page("live")[0] == 503
