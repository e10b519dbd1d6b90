"""An installation works with any number of shards."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from deploy.local.postgres import create_database
from services.config.publishing import PublishingSettings
from services.console.status_monitor import StatusMonitor
from services.eventlog.feed_history import FeedHistory
from services.eventlog.migrate import migrate
from services.eventlog.postgres import READER, connect, create_pool
from services.kafka.topics import full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_comparison import LogComparison
from services.publishing.record_mapper import RecordMapper
from services.publishing.verifier import verify
from services.runtime.health import Health
from tests.fixtures.fault_helpers import assert_dense, course_commands, send_all, start_handler, wait_until_published
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX, System, create_system

SHARDS = 5
COMMANDS = 60


@pytest.fixture
async def system(
    postgres: str, bootstrap: str, new_database: Callable[[], str], tmp_path: Path
) -> AsyncIterator[System]:
    url = create_database(postgres, f"{RUN_PREFIX}-{next(RUN_NUMBERS)}")
    migrate(url, SHARDS)
    async for new_system in create_system(bootstrap, url, tmp_path):
        yield new_system


async def test_commands_are_decided_published_and_verified_with_another_number_of_shards(system: System) -> None:
    system.create_process("relay").start()
    await start_handler(system)
    await send_all(system, course_commands(COMMANDS))
    await wait_until_published(system, COMMANDS)

    verdicts = system.client.records["verdicts"]
    assert_dense(verdicts)
    assert {record.partition for record in verdicts} == set(range(SHARDS))
    observer = await asyncpg.connect(system.database_url)
    misplaced = await observer.fetchval("select count(*) from decided_command where shard <> partition")
    await observer.close()
    assert misplaced == 0
    connection = await connect(system.database_url, "test", READER)
    history = FeedHistory(connection)
    record_mapper = RecordMapper(history, PublishingFormat.from_settings(PublishingSettings()))
    comparison = LogComparison("verdicts", history, record_mapper)
    report = await verify(system.bootstrap, full_topic_name(system.prefix, "verdicts"), "verdicts", comparison)
    await connection.close()
    assert (report.records, report.findings) == (COMMANDS, [])
    async with create_pool(system.database_url, "test", READER, connections_max=2, seconds_max=30) as pool:
        status = await StatusMonitor(pool, system.bootstrap, system.prefix, Health()).poll_once()
    assert (status.decided, status.problems, status.topic_problems) == (COMMANDS, (), ())
