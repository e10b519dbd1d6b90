"""The status monitor on real servers: owners of partitions, recreated topics, outages."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from deploy.local.kafka import KafkaServer
from services.console.group_members import UNASSIGNED, decode_assignment
from services.console.redriver import Redriver
from services.console.status_monitor import StatusMonitor
from services.eventlog.postgres import OPERATOR, create_pool
from services.kafka.progress_topic import write_progress
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import create_missing_topics, full_topic_name
from services.runtime.health import Health
from tests.fixtures.console_client import ConsoleClient
from tests.fixtures.dead_letter_fixtures import append_dead_letters
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System


async def test_recreated_topics_and_missing_handlers_are_critical(
    system: System,
) -> None:
    await append_dead_letters(system, 3, [b"{", b"{"], topic_name="commands")
    start = RelayProgress.initial("an installation")
    ahead = replace(start, sequences={**start.sequences, "events": (0, 5, *[0] * 10)})
    await write_progress(system.bootstrap, full_topic_name(system.prefix, "progress"), ahead)
    connections = await create_pool(system.database_url, "test", OPERATOR, 2, 10)
    monitor = StatusMonitor(connections, system.bootstrap, system.prefix, Health())
    watching = asyncio.create_task(monitor.run())
    try:
        await wait_until(
            lambda: monitor.status.outputs and {p.owner for p in monitor.status.partitions} == {UNASSIGNED},
            "the status is complete",
        )
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        connections.terminate()
    assert [(p.number, p.state, p.waiting) for p in monitor.status.partitions if p.is_cut] == [(3, "stopped", 0)]
    assert {(output.topic, output.waiting, output.ahead) for output in monitor.status.outputs} >= {
        ("events", 0, 5),
        ("dead-letters", 2, 0),
    }
    assert monitor.status.summary_lines()[:3] == [
        "Partition 3 of the commands topic ends before the last decided offset: the topic was recreated or truncated,"
        " and the handlers have stopped there",
        "Topic events has records that are not in the log: the log was restored to an earlier time, and the relay has"
        " stopped",
        "No handler is running",
    ]


async def test_status_recovers_after_the_broker_was_killed(new_database: Callable[[], str], tmp_path: Path) -> None:
    broker = KafkaServer(tmp_path / "kafka", heap="256m")
    broker.start()
    connections = await create_pool(new_database(), "test", OPERATOR, 2, 10)
    monitor = StatusMonitor(connections, broker.address, "outage", health := Health())
    await create_missing_topics(broker.address, "outage", RelayProgress.initial("an installation"))
    watching = asyncio.create_task(monitor.run())
    try:
        await wait_until(lambda: monitor.status.partitions and not monitor.status.problems, "Kafka answers")
        broker.kill()
        await wait_until(lambda: "kafka" in health.server_problems, "the outage is reported")
        await asyncio.to_thread(broker.start)
        await wait_until(lambda: "kafka" not in health.server_problems, "Kafka answers again")
        assert not watching.done()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        connections.terminate()
        broker.kill()


async def test_each_partition_shows_its_assigned_group_member(console: ConsoleClient) -> None:
    async def read_owners() -> list[str]:
        page = (await console.request("GET", "/")).text
        owners = re.findall(r'<td class="owner"><bdi>(console-\d)</bdi></td>', page)
        return owners if len(owners) == 12 else []

    assert set(await wait_until(read_owners, "each partition has an owner")) == {"console-0", "console-1"}


async def test_postgresql_outage_reports_no_pending_redrive_without_a_request() -> None:
    redriver = Redriver("postgresql://nobody@127.0.0.1:1/nothing", "127.0.0.1:1", "away")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(redriver.run(), 0.5)
    assert redriver.problem is None


def test_member_partitions_are_parsed_from_the_group_assignment() -> None:
    assigned = ConsumerProtocolMemberAssignment(0, [("commands", [1, 5]), ("another", [2])], b"").encode()
    assert decode_assignment("commands", assigned) == [1, 5]
    assert decode_assignment("commands", b"") == decode_assignment("commands", b"\xff" * 40) == []
    for broken in (b"\x00", assigned[:9]):
        with pytest.raises(ValueError, match="."):
            decode_assignment("commands", broken)
