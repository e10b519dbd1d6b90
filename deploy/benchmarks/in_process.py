"""Deciding without Kafka: logs to begin with, and the very rows that a handler appends."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import asyncpg
from aiokafka import ConsumerRecord

from deploy.benchmarks.workload import (
    Course,
    Json,
    ProducerRecord,
    build_record,
    first_grade_commands,
    list_assignment_ids,
    roster_commands,
)
from services.commands.processor import CommandProcessor
from services.eventlog.append_batch import AppendBatch
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.kafka.partitioning import ALL_SHARDS, get_course_shard

BATCH_RECORDS = 1_000
# Not the commands topic's: what a handler reads there later is new whatever its offsets.
SETUP_TOPIC = "set-up"
STREAM_NUMBERS_QUERY = "select course, assignment, number from stream where assignment is not null"


class RecordingLog(EventStore):
    """A log that keeps what was appended to it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(connection)
        self.batches: list[AppendBatch] = []

    async def append(self, batch: AppendBatch) -> bool:
        """As Log's."""
        self.batches.append(batch)
        return await super().append(batch)


class OffsetAllocator:
    """Records as a consumer hands them out, each with a place of its own."""

    def __init__(self) -> None:
        self._next_offsets: Counter[int] = Counter()

    def to_consumer_record(self, record: ProducerRecord) -> ConsumerRecord[Any, Any]:
        """The record as it is read."""
        partition = get_course_shard(int(record.key))
        offset = self._next_offsets[partition]
        self._next_offsets[partition] += 1
        key, value, _ = record
        return ConsumerRecord("commands", partition, offset, 1, 1, key, value, None, len(key), len(value), ())


async def decide(
    url: str, records: Iterable[ProducerRecord], batch_records: int = BATCH_RECORDS, topic: str = "decided"
) -> list[AppendBatch]:
    """Decide records as one subscriber would who finds them on a new ``topic``, and return what was appended."""
    connection = await connect(url, "bench", WRITER)
    try:
        log = RecordingLog(connection)
        processor = CommandProcessor(log, await log.current_incarnation(topic))
        offset_allocator, remaining = OffsetAllocator(), iter(records)
        while batch := [offset_allocator.to_consumer_record(record) for record in islice(remaining, batch_records)]:
            await processor.process(batch)
    finally:
        await connection.close()
    return log.batches


async def create_graded_courses(
    url: str, courses: Sequence[int], students: int, assignments_per_course: int = 1
) -> list[Course]:
    """Courses whose students are all graded once on each assignment, decided and stored as any."""
    assignment_ids = {course: list_assignment_ids(course, assignments_per_course) for course in courses}
    setup_records = (
        build_record(command)
        for course in courses
        for command in setup_commands(course, students, assignment_ids[course])
    )
    await decide(url, setup_records, topic=SETUP_TOPIC)
    connection = await connect(url, "bench", WRITER)
    try:
        rows = await connection.fetch(STREAM_NUMBERS_QUERY)
    finally:
        await connection.close()
    numbers: dict[int, dict[int, int]] = {course: {} for course in courses}
    for course, assignment, number in sorted(map(tuple, rows)):
        numbers[course][assignment] = number
    return [Course(course, students, course_numbers) for course, course_numbers in numbers.items()]


def setup_commands(course: int, students: int, assignment_ids: Sequence[int]) -> Iterator[Json]:
    """A roster, and a first grade of everybody."""
    yield from roster_commands(course, students, assignment_ids)
    yield from first_grade_commands(course, students, assignment_ids)


def courses_per_shard(count: int) -> list[int]:
    """Course ids, so many in every shard: no partition of the commands topic has more to do than another."""
    courses_by_shard: dict[int, list[int]] = {shard: [] for shard in ALL_SHARDS}
    course = 1_000
    while any(len(courses) < count for courses in courses_by_shard.values()):
        course += 1
        if len(shard_courses := courses_by_shard[get_course_shard(course)]) < count:
            shard_courses.append(course)
    return sorted(course for courses in courses_by_shard.values() for course in courses)
