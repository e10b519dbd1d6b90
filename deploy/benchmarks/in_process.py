"""Decides commands without Kafka, to fill logs and to collect the rows that a handler appends."""

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
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.append_batch import AppendBatch
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.kafka.partitioning import ALL_SHARDS, get_course_shard, group_by_partition

BATCH_RECORDS = 1_000
# Not the handler's topic, whose offsets must stay free for the handler.
SETUP_TOPIC = "set-up"
STREAM_NUMBERS_QUERY = "select course, assignment, number from stream where assignment is not null"


class RecordingLog(EventStore):
    """An event store that keeps the batches appended to it."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(connection)
        self.batches: list[AppendBatch] = []

    async def append(self, batch: AppendBatch) -> bool:
        """Append, and keep the batch."""
        self.batches.append(batch)
        return await super().append(batch)


class OffsetAllocator:
    """Turns records into consumer records with consecutive offsets."""

    def __init__(self) -> None:
        self._next_offsets: Counter[int] = Counter()

    def to_consumer_record(self, record: ProducerRecord) -> ConsumerRecord[Any, Any]:
        """Return the record as a consumer receives it."""
        partition = get_course_shard(int(record.key))
        offset = self._next_offsets[partition]
        self._next_offsets[partition] += 1
        key, value, _ = record
        return ConsumerRecord("commands", partition, offset, 1, 1, key, value, None, len(key), len(value), ())


def get_watermarks(records: Iterable[ConsumerRecord[Any, Any]]) -> dict[int, int]:
    """Return the watermarks before records with consecutive offsets."""
    return {partition: first[0].offset - 1 for partition, first in group_by_partition(records).items()}


async def decide(
    url: str, records: Iterable[ProducerRecord], batch_records: int = BATCH_RECORDS, topic: str = "decided"
) -> list[AppendBatch]:
    """Decide records as a subscriber of a new ``topic`` does; return the appended batches."""
    connection = await connect(url, "bench", WRITER)
    try:
        log = RecordingLog(connection)
        processor = CommandProcessor(log, await log.current_incarnation(topic), DEFAULT_SHARD_COUNT)
        offset_allocator, remaining = OffsetAllocator(), iter(records)
        while batch := [offset_allocator.to_consumer_record(record) for record in islice(remaining, batch_records)]:
            await processor.process(batch, get_watermarks(batch))
    finally:
        await connection.close()
    return log.batches


async def create_graded_courses(
    url: str, courses: Sequence[int], students: int, assignments_per_course: int = 1
) -> list[Course]:
    """Create courses in which each student has one grade per assignment, by deciding the commands."""
    assignment_ids = {course: list_assignment_ids(course, assignments_per_course) for course in courses}
    setup_records = (
        build_record(command)
        for course in courses
        for command in setup_commands(course, students, assignment_ids[course])
    )
    await decide(url, setup_records, topic=SETUP_TOPIC)
    connection = await connect(url, "bench", WRITER)
    try:
        return await read_courses(connection, courses, students)
    finally:
        await connection.close()


async def read_courses(
    connection: "asyncpg.Connection[asyncpg.Record]", courses: Sequence[int], students: int
) -> list[Course]:
    """Return courses of ``students`` each, with the stream numbers of their assignments."""
    rows = await connection.fetch(STREAM_NUMBERS_QUERY)
    numbers: dict[int, dict[int, int]] = {course: {} for course in courses}
    for course, assignment, number in sorted(map(tuple, rows)):
        numbers[course][assignment] = number
    return [Course(course, students, course_numbers) for course, course_numbers in numbers.items()]


def setup_commands(course: int, students: int, assignment_ids: Sequence[int]) -> Iterator[Json]:
    """Build the commands of a roster and a first grade of every student."""
    yield from roster_commands(course, students, assignment_ids)
    yield from first_grade_commands(course, students, assignment_ids)


def courses_per_shard(count: int) -> list[int]:
    """Return course ids, ``count`` in each shard, so that all partitions have the same load."""
    courses_by_shard: dict[int, list[int]] = {shard: [] for shard in ALL_SHARDS}
    course = 1_000
    while any(len(courses) < count for courses in courses_by_shard.values()):
        course += 1
        if len(shard_courses := courses_by_shard[get_course_shard(course)]) < count:
            shard_courses.append(course)
    return sorted(course for courses in courses_by_shard.values() for course in courses)
