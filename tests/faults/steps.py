"""What fault tests do again and again: start a handler, send commands, count what is in the log."""

import asyncio
import subprocess
import sys

import asyncpg
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.paths import ROOT
from services.eventlog.operator_actions import OperatorActions
from services.eventlog.pipeline_queries import PipelineQueries
from services.kafka import topics
from services.kafka.partitioning import SHARD_COUNT
from tests.cases.adapter import World
from tests.conftest import System
from tests.processes.running import Json, Process, wait_until


async def count_rows(system: System, table: str = "verdict") -> int:
    connection = await asyncpg.connect(system.database_url)
    try:
        return int(await connection.fetchval(f"select count(*) from {table}"))
    finally:
        await connection.close()


async def wait_until_processed(system: System, expected: int) -> None:
    async def is_decided() -> bool:
        return await count_rows(system) >= expected

    await wait_until(is_decided, f"{expected} records are decided")


async def wait_until_published(system: System, processed: int) -> None:
    """Wait until so many verdicts are in the log, and all that it then holds has been read from its topics.

    Each topic is waited for: a relay may bring them one after the other. What is emitted again counts twice.
    """
    await wait_until_processed(system, processed)
    live = await count_rows(system, "event where live_number is not null")
    expected = {
        "verdicts": await count_rows(system),
        "events": await count_rows(system, "event"),
        "live-events": live,
        "caliper": live,
        "dead-letters": await count_rows(system, "dead_letter"),
    }
    records = system.client.records
    await wait_until(
        lambda: all(len(records[name]) >= expected[name] for name in expected), f"{expected} on the topics"
    )
    assert {name: len(records[name]) for name in expected} == expected


async def wait_until_idle(system: System) -> None:
    """Wait until whatever stands on the commands topic is decided, and whatever is redriven stands there.

    For who counts what is in the log: tests before may have sent what they did not wait for.
    """
    commands = topics.full_topic_name(system.prefix, "commands")
    partitions = [TopicPartition(commands, number) for number in range(SHARD_COUNT)]
    connection = await asyncpg.connect(system.database_url)

    async def is_at_rest() -> bool:
        waiting = await OperatorActions(connection).unfinished_redrives(set())
        ends = await system.client.uncommitted_consumer.end_offsets(partitions)
        decided = await PipelineQueries(connection).watermarks(commands, range(SHARD_COUNT))
        return not waiting and all(decided[place.partition] + 1 == end for place, end in ends.items())

    try:
        await wait_until(is_at_rest, "all is decided")
    finally:
        await connection.close()


STUDENTS = 60


def course_commands(number: int) -> list[Json]:
    return [World().command("upsert_course", {"name": f"Course {n}"}) for n in range(number)]


def large_course_commands(world: World) -> list[Json]:
    """A course with a roster and a moderated assignment."""
    steps: list[Json] = [{"do": "enroll", "user": "fg", "role": "teacher"}]
    steps += [{"do": "enroll", "user": f"ta{n}", "role": "ta"} for n in range(2)]
    steps += [{"do": "enroll", "user": f"s{n}", "role": "student"} for n in range(STUDENTS)]
    steps += [
        {
            "do": "assignment", "id": "a", "moderated_grading": True, "grader_count": 2, "final_grader": "fg",
            "points_possible": 100, "grading_type": "points",
        }
    ]  # fmt: skip
    return [command for step in steps for command in world.given(step)]


def publication_commands(students: int) -> list[Json]:
    """A course with an assignment, grades of so many of its students, and their publication."""
    world = World()
    grade = {"operation": "grade", "actor": "ta0", "assignment": "a", "score": 7}
    grades = [world.operation({**grade, "student": f"s{n}"}) for n in range(students)]
    return [
        *large_course_commands(world),
        *grades,
        world.operation({"operation": "publish", "actor": "fg", "assignment": "a"}),
    ]


async def send_all(system: System, commands: list[Json]) -> None:
    for command in commands:
        await system.client.send(command)
    await system.client.producer.flush()


async def run_module(system: System, module: str, *arguments: str) -> None:
    """One of the service's commands, as an operator runs it; CalledProcessError when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=system.environment, check=True)


async def recreate_commands_topic(system: System) -> None:
    """The commands topic is deleted and made again; ``outside`` has a producer that knows the new one."""
    await system.client.producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    commands = topics.full_topic_name(system.prefix, "commands")
    await admin.delete_topics([commands])
    while commands in await admin.list_topics():
        await asyncio.sleep(0.05)
    await topics.create_missing_topics(system.bootstrap, system.prefix)
    await admin.close()
    await system.client.recreate_producer()


async def rewind_relay(system: System, *arguments: str) -> None:
    """Set the relay's progress, once the server knows that the relay which was killed is gone."""
    relays = "pg_stat_activity where datname = current_database() and application_name like 'moderation-relay%'"

    async def is_gone() -> bool:
        return await count_rows(system, relays) == 0

    await wait_until(is_gone, "no relay is connected")
    await run_module(system, "services.admin.rewind", *arguments)


async def start_handler(system: System, **environment: str) -> Process:
    handler = system.create_process("handler", HANDLER_INSTANCE="redelivered", **environment)
    handler.start()
    await handler.wait_until_ready()
    return handler


class BackgroundSender:
    """Commands that go on being sent in the background; ``ids`` of all of them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.command_ids: list[str] = []
        self.stopped = False
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while not self.stopped:
            command = World().command("upsert_course", {"name": "Course"})
            self.command_ids.append(command["command_id"])
            await self.system.client.send(command)
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        self.stopped = True
        await self.task
