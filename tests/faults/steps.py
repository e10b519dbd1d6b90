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
from tests.processes.running import Json, Process, until


async def count(system: System, table: str = "verdict") -> int:
    connection = await asyncpg.connect(system.database_url)
    try:
        return int(await connection.fetchval(f"select count(*) from {table}"))
    finally:
        await connection.close()


async def until_decided(system: System, wanted: int) -> None:
    async def is_decided() -> bool:
        return await count(system) >= wanted

    await until(is_decided, f"{wanted} records are decided")


async def until_relayed(system: System, decided: int) -> None:
    """Wait until so many verdicts are in the log, and all that it then holds has been read from its topics.

    Each topic is waited for: a relay may bring them one after the other. What is emitted again counts twice.
    """
    await until_decided(system, decided)
    live = await count(system, "event where live_number is not null")
    wanted = {
        "verdicts": await count(system),
        "events": await count(system, "event"),
        "live-events": live,
        "caliper": live,
        "dead-letters": await count(system, "dead_letter"),
    }
    records = system.outside.records
    await until(lambda: all(len(records[name]) >= wanted[name] for name in wanted), f"{wanted} on the topics")
    assert {name: len(records[name]) for name in wanted} == wanted


async def until_at_rest(system: System) -> None:
    """Wait until whatever stands on the commands topic is decided, and whatever is redriven stands there.

    For who counts what is in the log: tests before may have sent what they did not wait for.
    """
    commands = topics.full_topic_name(system.prefix, "commands")
    places = [TopicPartition(commands, number) for number in range(SHARD_COUNT)]
    connection = await asyncpg.connect(system.database_url)

    async def is_at_rest() -> bool:
        waiting = await OperatorActions(connection).unfinished_redrives(set())
        ends = await system.outside.uncommitted.end_offsets(places)
        decided = await PipelineQueries(connection).watermarks(commands, range(SHARD_COUNT))
        return not waiting and all(decided[place.partition] + 1 == end for place, end in ends.items())

    try:
        await until(is_at_rest, "all is decided")
    finally:
        await connection.close()


STUDENTS = 60


def courses(number: int) -> list[Json]:
    return [World().command("upsert_course", {"name": f"Course {n}"}) for n in range(number)]


def prepared(world: World) -> list[Json]:
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


def publication(students: int) -> list[Json]:
    """A course with an assignment, grades of so many of its students, and their publication."""
    world = World()
    grade = {"operation": "grade", "actor": "ta0", "assignment": "a", "score": 7}
    grades = [world.operation({**grade, "student": f"s{n}"}) for n in range(students)]
    return [*prepared(world), *grades, world.operation({"operation": "publish", "actor": "fg", "assignment": "a"})]


async def send_all(system: System, commands: list[Json]) -> None:
    for command in commands:
        await system.outside.send(command)
    await system.outside.producer.flush()


async def run(system: System, module: str, *arguments: str) -> None:
    """One of the service's commands, as an operator runs it; CalledProcessError when it fails."""
    command = [sys.executable, "-m", module, *arguments]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=system.environment, check=True)


async def made_again(system: System) -> None:
    """The commands topic is deleted and made again; ``outside`` has a producer that knows the new one."""
    await system.outside.producer.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    commands = topics.full_topic_name(system.prefix, "commands")
    await admin.delete_topics([commands])
    while commands in await admin.list_topics():
        await asyncio.sleep(0.05)
    await topics.create_missing_topics(system.bootstrap, system.prefix)
    await admin.close()
    await system.outside.renew_producer()


async def rewound(system: System, *arguments: str) -> None:
    """Set the relay's progress, once the server knows that the relay which was killed is gone."""
    relays = "pg_stat_activity where datname = current_database() and application_name like 'moderation-relay%'"

    async def is_gone() -> bool:
        return await count(system, relays) == 0

    await until(is_gone, "no relay is connected")
    await run(system, "services.admin.rewind", *arguments)


async def started(system: System, **environment: str) -> Process:
    handler = system.process("handler", HANDLER_INSTANCE="redelivered", **environment)
    handler.start()
    await handler.ready()
    return handler


class Sending:
    """Commands that go on being sent in the background; ``ids`` of all of them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.ids: list[str] = []
        self.ended = False
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while not self.ended:
            command = World().command("upsert_course", {"name": "Course"})
            self.ids.append(command["command_id"])
            await self.system.outside.send(command)
            await asyncio.sleep(0.002)

    async def end(self) -> None:
        self.ended = True
        await self.task
