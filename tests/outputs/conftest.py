"""One recorded season for all tests of what reads topics and emits again."""

from collections.abc import AsyncIterator, Callable

import pytest

from services.kafka.relay_progress import FEED_BY_TOPIC
from tests.conftest import System, made_system
from tests.faults.steps import courses, publication, send_all, until_relayed
from tests.outputs.recorded import Recorded
from tests.processes.running import until

STUDENTS = 6


@pytest.fixture(scope="session")
async def recorded(
    bootstrap: str, new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Recorded]:
    """Two courses with a publication each, forty more courses, two unreadable records."""
    async for system in made_system(bootstrap, new_database(), tmp_path_factory.mktemp("recorded")):
        await play(system)
        recording = Recorded(system, {})
        for output in FEED_BY_TOPIC:
            recording.records[output] = await recording.read(output)
        yield recording


async def play(system: System) -> None:
    """A season, until all of it is on the topics; then the processes end."""
    processes = [system.process("handler", HANDLER_INSTANCE="recorded"), system.process("relay")]
    for process in processes:
        process.start()
    for process in processes:
        await process.ready()
    outside = system.outside
    commands = courses(40)
    await send_all(system, commands)
    # The rest is decided at another time.
    await until(lambda: len(outside.verdicts) == len(commands), "the courses' verdicts")
    rest = [command for _ in range(2) for command in publication(STUDENTS)]
    await send_all(system, rest)
    commands += rest
    for value in (b'{"command_id": "unreadable', b""):
        await outside.send_raw(value, commands[-1]["course_id"].encode(), [("ce_sequence", b"7")])
    await until(lambda: len(outside.records["dead-letters"]) == 2, "both dead letters")
    await until_relayed(system, len(commands))
    assert len(outside.records["live-events"]) == 2 * STUDENTS
    for process in processes:
        process.stop()
