"""Deciding without Kafka: logs to begin with, and the very rows that a handler appends."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord

from deploy.benchmarks.workload import Course, Json, Record, assignments, graded, record, roster
from services.commands.processor import Deciding
from services.eventlog.append_batch import Batch
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import Log
from services.kafka.partitioning import SHARDS, shard_of_course

BATCH_RECORDS = 1_000
# Not the commands topic's: what a handler reads there later is new whatever its offsets.
SET_UP = "set-up"
NUMBERS = "select course, assignment, number from stream where assignment is not null"


class RecordingLog(Log):
    """A log that keeps what was appended to it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(connection)
        self.batches: list[Batch] = []

    async def append(self, batch: Batch) -> bool:
        """As Log's."""
        self.batches.append(batch)
        return await super().append(batch)


class Offsets:
    """Records as a consumer hands them out, each with a place of its own."""

    def __init__(self) -> None:
        self._ends: Counter[int] = Counter()

    def consumed(self, sent: Record) -> ConsumerRecord[Any, Any]:
        """The record as it is read."""
        partition = shard_of_course(int(sent.key))
        offset = self._ends[partition]
        self._ends[partition] += 1
        key, value, _ = sent
        return ConsumerRecord("commands", partition, offset, 1, 1, key, value, None, len(key), len(value), ())


async def decide(
    url: str, records: Iterable[Record], batch_records: int = BATCH_RECORDS, topic: str = "decided"
) -> list[Batch]:
    """Decide records as one subscriber would who finds them on a new ``topic``, and return what was appended."""
    connection = await connect(url, "bench", WRITER)
    try:
        log = RecordingLog(connection)
        deciding = Deciding(log, await log.current_source(topic))
        offsets, remaining = Offsets(), iter(records)
        while batch := [offsets.consumed(each) for each in islice(remaining, batch_records)]:
            await deciding.settle(batch)
    finally:
        await connection.close()
    return log.batches


async def set_up(url: str, courses: Sequence[int], students: int, assignments_each: int = 1) -> list[Course]:
    """Courses whose students are all graded once on each assignment, decided and stored as any."""
    ids = {course: assignments(course, assignments_each) for course in courses}
    stated = (record(made) for course in courses for made in facts(course, students, ids[course]))
    await decide(url, stated, topic=SET_UP)
    connection = await connect(url, "bench", WRITER)
    try:
        rows = await connection.fetch(NUMBERS)
    finally:
        await connection.close()
    numbers: dict[int, dict[int, int]] = {course: {} for course in courses}
    for course, assignment, number in sorted(map(tuple, rows)):
        numbers[course][assignment] = number
    return [Course(course, students, of_course) for course, of_course in numbers.items()]


def facts(course: int, students: int, assignments_: Sequence[int]) -> Iterator[Json]:
    """A roster, and a first grade of everybody."""
    yield from roster(course, students, assignments_)
    yield from graded(course, students, assignments_)


def courses_in_every_shard(each: int) -> list[int]:
    """Course ids, so many in every shard: no partition of the commands topic has more to do than another."""
    found: dict[int, list[int]] = {shard: [] for shard in range(SHARDS)}
    course = 1_000
    while any(len(courses) < each for courses in found.values()):
        course += 1
        if len(of_shard := found[shard_of_course(course)]) < each:
            of_shard.append(course)
    return sorted(course for courses in found.values() for course in courses)
