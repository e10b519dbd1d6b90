"""One recorded season for all tests of the verifier, the replayer and readers."""

from collections.abc import AsyncIterator, Callable

import pytest

from services.eventlog.feeds import FEED_BY_TOPIC
from tests.fixtures.fault_helpers import course_commands, publication_commands, send_all, wait_until_published
from tests.fixtures.process_runner import wait_until
from tests.fixtures.recorded_topics import RecordedTopics
from tests.fixtures.system import System, create_system

STUDENTS = 6


@pytest.fixture(scope="session")
async def recorded_topics(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RecordedTopics]:
    """Record two courses with a publication each, forty more courses, and two unreadable records."""
    async for system in create_system(bootstrap, new_database(), tmp_path_factory.mktemp("recorded")):
        await run_workload(system)
        await system.client.stop_reading()
        recording = RecordedTopics(system, {})
        for output in FEED_BY_TOPIC:
            recording.records[output] = await recording.read_topic(output)
        yield recording


async def run_workload(system: System) -> None:
    """Run a season until all of it is on the topics, and stop the processes."""
    processes = [system.create_process("handler", HANDLER_INSTANCE="recorded"), system.create_process("relay")]
    for process in processes:
        process.start()
    for process in processes:
        await process.wait_until_ready()
    outside = system.client
    commands = course_commands(40)
    await send_all(system, commands)
    # The rest is decided later, at a different time.
    await wait_until(lambda: len(outside.verdicts) == len(commands), "the courses' verdicts")
    rest = [command for _ in range(2) for command in publication_commands(STUDENTS)]
    await send_all(system, rest)
    commands += rest
    for value in (b'{"command_id": "unreadable', b""):
        await outside.send_raw(value, commands[-1]["course_id"].encode(), [("ce_sequence", b"7")])
    await wait_until(lambda: len(outside.records["dead-letters"]) == 2, "both dead letters")
    await wait_until_published(system, len(commands))
    assert len(outside.records["live-events"]) == 2 * STUDENTS
    for process in processes:
        process.stop()
