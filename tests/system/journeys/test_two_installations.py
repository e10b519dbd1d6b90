"""Two installations, each with a topic prefix and a PostgreSQL primary of its own, share one Kafka cluster."""

import copy
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from deploy.local.backing_services import Server, choose_provider, postgres_server
from deploy.local.postgres import create_database
from services.eventlog.migrate import migrate
from tests.fixtures.fault_helpers import (
    assert_dense,
    count_rows,
    course_commands,
    publication_commands,
    send_all,
    wait_until_published,
)
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX, System, create_running_system

Json = dict[str, Any]
STUDENTS = 3
SCORES = (7, 8)


@pytest.fixture(scope="module")
def second_primary() -> Iterator[Server]:
    provider = choose_provider("postgres")
    server = postgres_server(f"{RUN_PREFIX}-second", "local" if provider == "given" else provider)
    server.start()
    yield server
    server.kill()
    server.remove()


@pytest.fixture(scope="module")
async def installations(
    bootstrap: str, postgres: str, second_primary: Server, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[System]]:
    """Two running installations, each on its own primary."""
    urls = [create_database(url, f"{RUN_PREFIX}-{next(RUN_NUMBERS)}") for url in (postgres, second_primary.address)]
    for url in urls:
        migrate(url)
    async for first in create_running_system(bootstrap, urls[0], tmp_path_factory.mktemp("first")):
        async for second in create_running_system(bootstrap, urls[1], tmp_path_factory.mktemp("second")):
            yield [first, second]


def with_score(commands: list[Json], score: int) -> list[Json]:
    """The same commands, ids included, with another score."""
    changed = copy.deepcopy(commands)
    for command in changed:
        if "score" in command["data"]:
            command["data"]["score"] = score
    return changed


def decoded(system: System, topic: str) -> list[Json]:
    return [json.loads(record.value or b"") for record in system.client.records[topic]]


async def test_same_commands_in_two_installations_leave_nothing_of_one_in_the_other(
    installations: list[System],
) -> None:
    commands = publication_commands(STUDENTS)
    for system, score in zip(installations, SCORES, strict=True):
        await send_all(system, with_score(commands, score))
    for system, score in zip(installations, SCORES, strict=True):
        await wait_until_published(system, len(commands))
        verdicts = decoded(system, "verdicts")
        assert [(v["command_id"], v["status"], v["duplicate"]) for v in verdicts] == [
            (command["command_id"], "accepted", False) for command in commands
        ]
        assert [event["body"]["score"] for event in decoded(system, "live-events")] == [score] * STUDENTS
        for topic in ("verdicts", "live-events", "caliper", "events"):
            assert_dense(system.client.records[topic])


async def test_installation_decides_while_the_primary_of_another_is_down(
    installations: list[System], second_primary: Server
) -> None:
    first, second = installations
    first_decided, second_decided = await count_rows(first), await count_rows(second)
    second_primary.kill()
    await send_all(second, course_commands(5))
    await send_all(first, course_commands(20))
    await wait_until_published(first, first_decided + 20)

    second_primary.start()
    await wait_until_published(second, second_decided + 5)
    assert (await count_rows(first), await count_rows(second)) == (first_decided + 20, second_decided + 5)
