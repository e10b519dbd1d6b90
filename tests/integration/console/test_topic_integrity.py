"""A topic that lacks records of the relay is reported, even while nothing is published."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from services.console import status_monitor
from services.console.kafka_probe import KafkaProbe
from services.console.pipeline_status import ALL_DONE
from services.console.status_monitor import StatusMonitor
from services.console.topic_integrity import TopicIntegrityCheck
from services.console.web.metrics import topics_lost
from services.eventlog.feed_history import FeedHistory
from services.eventlog.postgres import OPERATOR, create_pool
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from services.runtime.command_line import ExitCode
from services.runtime.health import Health
from tests.fixtures.fault_helpers import rewind_relay, wait_until_published
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import System, seed_course
from tests.integration.cli.conftest import CommandLine
from tests.system.faults.test_relay_progress import recreate_topics

# Longer than one check takes.
CHECK_SECONDS = 3


@pytest.fixture
async def idle(system: System) -> Process:
    """A relay that has published course 1001 and is idle."""
    for process in (system.create_process("handler", HANDLER_INSTANCE="losses"), system.create_process("relay")):
        process.start()
    for process in system.processes:
        await process.wait_until_ready()
    await seed_course(system)
    await wait_until_published(system, 3)
    return system.processes[1]


@pytest.fixture
async def kafka_probe(system: System) -> AsyncIterator[KafkaProbe]:
    probe = KafkaProbe(system.bootstrap, system.prefix)
    await probe.start()
    yield probe
    await probe.stop()


@pytest.fixture
async def feed_history(system: System) -> AsyncIterator[FeedHistory]:
    connection = await asyncpg.connect(system.database_url)
    yield FeedHistory(connection)
    await connection.close()


async def wait_for_problems(
    check: TopicIntegrityCheck, kafka_probe: KafkaProbe, feed_history: FeedHistory, expected: dict[str, str]
) -> None:
    """Wait until the check reports exactly these problems."""

    async def are_reported() -> bool:
        # A check may read a topic that is being deleted.
        with contextlib.suppress(KafkaError, TimeoutError):
            return {
                problem.topic: problem.description for problem in await check.check(kafka_probe, feed_history)
            } == expected
        return False

    await wait_until(are_reported, f"the check reports {expected}")


async def has_no_problems(check: TopicIntegrityCheck, kafka_probe: KafkaProbe, feed_history: FeedHistory) -> bool:
    return (await check.check(kafka_probe, feed_history), check.needs_confirmation) == ((), False)


def recreated_message(system: System, output: str, shard: int, number: int) -> str:
    return (
        f"shard {shard} of {output} ends at 0, but the relay published up to {number}: records were lost, or it was"
        " recreated"
    )


@pytest.mark.usefixtures("idle")
async def test_idle_topic_loss_is_reported_and_retention_is_not(
    system: System, kafka_probe: KafkaProbe, feed_history: FeedHistory
) -> None:
    check = TopicIntegrityCheck(system.bootstrap, system.prefix)
    shard = system.client.records["events"][0].partition
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    partition = TopicPartition(full_topic_name(system.prefix, "events"), shard)
    # The markers of the last transaction may not have reached every partition yet.
    await wait_until(lambda: has_no_problems(check, kafka_probe, feed_history), "the topics are complete")
    for removed in ({}, {partition: RecordsToDelete(before_offset=-1)}):
        await admin.delete_records(removed)
        for _ in range(3):
            assert await has_no_problems(check, kafka_probe, feed_history)

    await recreate_topics(system, "verdicts")
    assert (await check.check(kafka_probe, feed_history), check.needs_confirmation) == ((), True)
    problems = {"verdicts": recreated_message(system, "verdicts", shard, 3)}
    await wait_for_problems(check, kafka_probe, feed_history, problems)
    await admin.delete_topics([full_topic_name(system.prefix, "caliper")])
    await wait_for_problems(check, kafka_probe, feed_history, {**problems, "caliper": "topic caliper does not exist"})
    await admin.close()
    await recreate_topics(system, "caliper", "progress")
    await wait_for_problems(
        check,
        kafka_probe,
        feed_history,
        {"progress": "topic progress holds no record: the relay's progress is lost"},
    )


async def test_restarted_console_and_status_show_the_rewind_command_until_recovery(
    system: System, idle: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_monitor, "TOPIC_CHECK_SECONDS", 0.2)
    shard = system.client.records["events"][0].partition
    await recreate_topics(system, "events", "verdicts")
    connections = await create_pool(system.database_url, "test", OPERATOR, 2, 10)
    monitor = StatusMonitor(connections, system.bootstrap, system.prefix, Health())
    running = asyncio.create_task(monitor.run())
    try:
        sentences = {recreated_message(system, output, shard, 3).capitalize() for output in ("events", "verdicts")}
        await wait_until(lambda: set(monitor.status.summary_lines()) == sentences, "the lost records are reported")
        assert monitor.status.rewind_command == "moderated-grading admin rewind topics verdicts events"
        assert {name for (name,), value in topics_lost(monitor.status) if value} == {"events", "verdicts"}
        status = await CommandLine(system.environment).run("status")
        assert status.exit_code == ExitCode.ALARM
        remedy = (
            f"  Stop the relays, run {monitor.status.rewind_command}, and start them: they publish the lost records."
        )
        assert status.stdout.startswith(f"✗ {monitor.status.summary()}\n{remedy}")

        idle.kill()
        await rewind_relay(system, "topics", "verdicts", "events")
        idle.start()
        await wait_until(lambda: monitor.status.summary_lines() == [ALL_DONE], "the topics are complete again")
        assert {value for _, value in topics_lost(monitor.status)} == {0}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        connections.terminate()


async def test_rewind_does_not_send_again_what_retention_removed(system: System, idle: Process) -> None:
    shard = system.client.records["events"][0].partition
    idle.kill()
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    partition = TopicPartition(full_topic_name(system.prefix, "events"), shard)
    await admin.delete_records({partition: RecordsToDelete(before_offset=-1)})
    await admin.close()

    await rewind_relay(system, "topics", "events")
    idle.start()
    await idle.wait_until_ready()
    await seed_course(system)
    await wait_until_published(system, 6)
    assert not any("replay" in dict(record.headers) for record in system.client.records["events"])


async def test_postgresql_outage_during_topic_checks_is_not_reported_as_kafka(
    system: System, kafka_probe: KafkaProbe
) -> None:
    coordinates = {
        "topic": full_topic_name(system.prefix, "commands"),
        "partition": "0",
        "offset": "7",
        "timestamp": "1790000000000",
    }
    reason = {"dead_letter_reason": "not_json", "dead_letter_message": "no JSON"}
    headers = reason | {f"original_{name}": text for name, text in coordinates.items()}
    letters = full_topic_name(system.prefix, "dead-letters")
    encoded = [(name, text.encode()) for name, text in headers.items()]
    await system.client.producer.send_and_wait(letters, b"{", headers=encoded, partition=0)
    connections = await create_pool("postgresql://nobody@127.0.0.1:1/nothing", "test", OPERATOR, 2, 10)
    health = Health()
    health.set_server_problem("postgresql", "PostgreSQL does not answer")
    monitor = StatusMonitor(connections, system.bootstrap, system.prefix, health)
    checking = asyncio.create_task(monitor._check_topics(kafka_probe))
    done, _ = await asyncio.wait({checking}, timeout=CHECK_SECONDS)
    checking.cancel()
    await asyncio.gather(checking, return_exceptions=True)
    connections.terminate()
    assert not done, "it goes on: Kafka is not away"
