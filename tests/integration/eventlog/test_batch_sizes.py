"""A course's commands are decided in the same way in batches of any size."""

import json
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.store import EventStore
from services.kafka.partitioning import get_course_shard
from tests.system.faults.course_load import CourseLoad, Json

ASSIGNMENTS, ALL = 3, 1_000
NOT_COMPARED = {"decided_at", "result"}
"""Times, and ids that are derived from a random secret of each log."""
Log = tuple[list[Json], list[Json]]
DecideCourse = Callable[[int], Awaitable[Log]]


class Course:
    """Decides a course in batches of one size; selections name ids from its own verdicts."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", processor: CommandProcessor, size: int
    ) -> None:
        self.connection, self.processor, self.size = connection, processor, size
        self.verdicts: dict[str, Json] = {}
        self.load = CourseLoad(1, random.Random(7), self.verdicts)
        self.partition = get_course_shard(self.load.course)
        self.watermarks = {self.partition: -1}
        self._waiting: list[ConsumerRecord[Any, Any]] = []
        self._count = 0

    def commands(self) -> Iterator[Json | None]:
        """Yield the facts and some assignments, with early, repeated and changed commands."""
        yield from self.load.facts()
        commands = self.load.commands()
        while len(self.load.assignments) <= ASSIGNMENTS:
            command = next(commands)
            yield command
            if command is None:
                continue
            match command:
                case {"type": "configure_assignment", "assignment_id": assignment}:
                    yield self.load.command("hide_grades", {}, int(assignment))
                case {"type": "publish_provisional_grades" | "select_provisional_grade"}:
                    yield command
                    yield {**command, "command_id": str(uuid.UUID(int=self._count, version=4))}
                    yield {**command, "issued_at": "2026-02-01T12:00:00Z", "data": {"changed": True}}

    async def decide(self) -> Log:
        for command in self.commands():
            if command is None:
                assert self._waiting, "verdicts are missing"
                await self._flush()
                continue
            self._add(json.dumps(command).encode())
            if self._count % 40 == 0:
                self._add(b'{"command_id": "unreadable')
            if len(self._waiting) >= self.size:
                await self._flush()
        await self._flush()
        return await self._read_log()

    def _add(self, value: bytes) -> None:
        self._waiting.append(
            ConsumerRecord("commands", self.partition, self._count, 1, 1, None, value, None, 0, len(value), ())
        )
        self._count += 1

    async def _flush(self) -> None:
        for first in range(0, len(self._waiting), self.size):
            result = await self.processor.process(self._waiting[first : first + self.size], self.watermarks)
            assert not result.deferred
        self._waiting.clear()
        for row in await self.connection.fetch("select body::text from verdict order by number"):
            body = json.loads(row["body"])
            self.verdicts[body["command_id"]] = body

    async def _read_log(self) -> Log:
        rows = await self.connection.fetch('select "offset", body::text from verdict order by number')
        verdicts = [{"offset": row["offset"], **json.loads(row["body"])} for row in rows]
        events = await self.connection.fetch(
            "select type, version, metadata->>'command_id' as command, metadata->>'student_id' as student,"
            " data->'payload'->>'score' as score, data->'payload'->>'grade' as grade from event order by position"
        )
        return (
            [{name: value for name, value in body.items() if name not in NOT_COMPARED} for body in verdicts],
            [dict(event) for event in events],
        )


@pytest.fixture
def decide_course(new_database: Callable[[], str]) -> DecideCourse:
    """Decide the course into an empty log."""

    async def decide(size: int) -> Log:
        connection = await asyncpg.connect(new_database())
        try:
            store = EventStore(connection)
            processor = CommandProcessor(store, await store.current_incarnation("commands"), DEFAULT_SHARD_COUNT)
            return await Course(connection, processor, size).decide()
        finally:
            await connection.close()

    return decide


async def test_verdicts_and_events_do_not_depend_on_the_size_of_batches(decide_course: DecideCourse) -> None:
    one_by_one = await decide_course(1)
    reasons = {verdict["reason"] for verdict in one_by_one[0]}

    assert reasons == {None, "not_published", "already_published", "command_id_reused"}
    assert await decide_course(7) == one_by_one
    assert await decide_course(ALL) == one_by_one
