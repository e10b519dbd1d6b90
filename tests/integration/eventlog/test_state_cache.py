"""The states that a subscriber caches are bounded, and evicted ones are read again."""

import dataclasses
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import asyncpg
import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands import processor, state_cache
from services.commands.batch_result import BatchResult
from services.commands.incoming_command import Record
from services.commands.processor import CommandProcessor
from services.eventlog.store import EventStore
from tests.integration.eventlog.test_complexity import COURSES, CommandRecords

BYTES_MAX = 45_000
READ_AT_ONCE_MAX = 5
TRANSACTIONS = "select count(distinct xmin::text) from decided_command"
VERSIONS = "select version from event where type = 'provisional_grade_updated' order by stream"


async def process(processor: CommandProcessor, records: Sequence[Record]) -> BatchResult:
    """Process records that follow those in the log."""
    partitions = {record.partition for record in records}
    return await processor.process(
        records, await processor.event_store.watermarks(processor.incarnation, list(partitions))
    )


@dataclass(frozen=True)
class CoursesInLog:
    """A log with the courses of ``commands``, and their assignments."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    source: int
    commands: CommandRecords

    def processor(self, cache_bytes_max: int = state_cache.BYTES_MAX, snapshot_events: int = 0) -> CommandProcessor:
        """Return the processor of a handler that has just started."""
        return CommandProcessor(
            EventStore(self.connection),
            self.source,
            DEFAULT_SHARD_COUNT,
            cache_bytes_max=cache_bytes_max,
            snapshot_events=snapshot_events,
        )


@pytest.fixture
async def courses(database_url: str) -> AsyncIterator[CoursesInLog]:
    connection = await asyncpg.connect(database_url)
    source = await EventStore(connection).current_incarnation("commands")
    courses = CoursesInLog(connection, source, CommandRecords())
    try:
        await process(courses.processor(), courses.commands.setup_records())
        yield courses
    finally:
        await connection.close()


async def test_lru_states_are_evicted_and_reloaded_from_the_log(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        processor = CommandProcessor(
            log, await log.current_incarnation("commands"), DEFAULT_SHARD_COUNT, cache_bytes_max=BYTES_MAX
        )
        await process(processor, commands.setup_records())
        for _ in range(2):
            for start in range(COURSES):
                await process(processor, commands.grade_records(COURSES)[start : start + 1])
                assert 0 < processor.state_cache.byte_count <= BYTES_MAX
                assert 0 < len(processor.state_cache.assignments) < COURSES
        versions = [row["version"] for row in await connection.fetch(VERSIONS)]
    finally:
        await connection.close()

    assert versions == [4] * COURSES


async def test_batch_with_many_assignments_is_split_and_each_record_processed_once(
    courses: CoursesInLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    sent = [*courses.commands.grade_records(COURSES), *courses.commands.grade_records(COURSES)]
    result = await process(courses.processor(), sent)
    decided = await courses.connection.fetch('select partition, "offset", append_time from verdict order by 1, 2')
    versions = [row["version"] for row in await courses.connection.fetch(VERSIONS)]

    assert sum(result.outcomes.values()) == 2 * COURSES
    assert (
        len(decided)
        == len({(row["partition"], row["offset"]) for row in decided})
        == courses.commands.next_offsets.total()
    )
    assert versions == [4] * COURSES


async def test_batch_with_many_courses_is_split(courses: CoursesInLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    before = await courses.connection.fetchval(TRANSACTIONS)
    again = [record for record in courses.commands.setup_records() if b"upsert_enrollments" in (record.value or b"")]
    result = await process(courses.processor(), again)
    parts = await courses.connection.fetchval(TRANSACTIONS) - before

    assert sum(result.outcomes.values()) == len(again)
    assert parts == -(-COURSES // READ_AT_ONCE_MAX)


async def test_batch_whose_streams_fill_the_cache_ends_before_the_command_that_needs_more(
    courses: CoursesInLog,
) -> None:
    limited = courses.processor(cache_bytes_max=BYTES_MAX)
    records: Sequence[Record] = courses.commands.grade_records(COURSES)
    batches = 0
    while records:
        deferred = (await process(limited, records)).deferred
        assert len(deferred) < len(records)
        records, batches = deferred, batches + 1
    decided = await courses.connection.fetchval("select count(*) from decided_command where first")
    rejected = await courses.connection.fetchval("select count(*) from verdict where body->>'status' = 'rejected'")

    assert 1 < batches < COURSES
    assert decided == courses.commands.next_offsets.total()
    assert rejected == 0


async def test_limit_also_holds_for_assignments_whose_snapshots_no_event_follows(
    courses: CoursesInLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_cache, "NEW_SNAPSHOTS_MAX", COURSES)
    grades = courses.commands.grade_records(COURSES)
    await process(courses.processor(), grades)
    repeated = [courses.commands.repeat(record) for record in grades]
    await process(courses.processor(snapshot_events=1), repeated)
    snapshots = await courses.connection.fetchval("select count(*) from snapshot")
    limited = courses.processor(cache_bytes_max=BYTES_MAX, snapshot_events=1)
    deferred = (await process(limited, [courses.commands.repeat(record) for record in grades])).deferred

    assert snapshots == COURSES
    assert 0 < len(deferred) < COURSES


def grade_with_comment(courses: CoursesInLog, comment: str) -> Record:
    [record] = courses.commands.grade_records(1)
    command = json.loads(record.value or b"")
    command["data"]["comment"] = comment
    return dataclasses.replace(record, value=json.dumps(command).encode())


@pytest.mark.parametrize(
    ("comment", "bytes_min"),
    [("x" * 60_000, 60_000), ("x" * 59_999 + "\U0001f600", 240_000)],
    ids=["ASCII", "an emoji"],
)
async def test_texts_of_own_decisions_count_like_those_read_from_the_log(
    courses: CoursesInLog, comment: str, bytes_min: int
) -> None:
    own, other = courses.processor(), courses.processor()
    await process(own, [grade_with_comment(courses, comment)])
    (key,) = own.state_cache.assignments
    decided = own.state_cache.estimate_bytes("assignment", key)
    await process(other, courses.commands.grade_records(1))

    assert decided >= bytes_min
    assert other.state_cache.estimate_bytes("assignment", key) == decided
