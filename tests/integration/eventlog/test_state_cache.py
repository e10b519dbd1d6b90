"""The states that a subscriber caches are bounded, and evicted ones are read again."""

from collections.abc import Sequence

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
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        source = await log.current_incarnation("commands")
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), commands.setup_records())
        sent = [*commands.grade_records(COURSES), *commands.grade_records(COURSES)]
        result = await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), sent)
        decided = await connection.fetch('select partition, "offset", append_time from verdict order by 1, 2')
        versions = [row["version"] for row in await connection.fetch(VERSIONS)]
    finally:
        await connection.close()

    assert sum(result.outcomes.values()) == 2 * COURSES
    assert len(decided) == len({(row["partition"], row["offset"]) for row in decided}) == commands.next_offsets.total()
    assert versions == [4] * COURSES


async def test_batch_with_many_courses_is_split(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        source = await log.current_incarnation("commands")
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), commands.setup_records())
        before = await connection.fetchval(TRANSACTIONS)
        again = [record for record in commands.setup_records() if b"upsert_enrollments" in (record.value or b"")]
        result = await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), again)
        parts = await connection.fetchval(TRANSACTIONS) - before
    finally:
        await connection.close()

    assert sum(result.outcomes.values()) == len(again)
    assert parts == -(-COURSES // READ_AT_ONCE_MAX)


async def test_batch_whose_streams_fill_the_cache_ends_before_the_command_that_needs_more(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        source = await log.current_incarnation("commands")
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), commands.setup_records())
        limited = CommandProcessor(log, source, DEFAULT_SHARD_COUNT, cache_bytes_max=BYTES_MAX)
        records: Sequence[Record] = commands.grade_records(COURSES)
        batches = 0
        while records:
            deferred = (await process(limited, records)).deferred
            assert len(deferred) < len(records)
            records, batches = deferred, batches + 1
        decided = await connection.fetchval("select count(*) from decided_command where first")
        rejected = await connection.fetchval("select count(*) from verdict where body->>'status' = 'rejected'")
    finally:
        await connection.close()

    assert 1 < batches < COURSES
    assert decided == commands.next_offsets.total()
    assert rejected == 0


async def test_limit_also_holds_for_assignments_whose_snapshots_no_event_follows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_cache, "NEW_SNAPSHOTS_MAX", COURSES)
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        source = await log.current_incarnation("commands")
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), commands.setup_records())
        grades = commands.grade_records(COURSES)
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT), grades)
        repeated = [commands.repeat(record) for record in grades]
        await process(CommandProcessor(log, source, DEFAULT_SHARD_COUNT, snapshot_events=1), repeated)
        snapshots = await connection.fetchval("select count(*) from snapshot")
        limited = CommandProcessor(log, source, DEFAULT_SHARD_COUNT, cache_bytes_max=BYTES_MAX, snapshot_events=1)
        deferred = (await process(limited, [commands.repeat(record) for record in grades])).deferred
    finally:
        await connection.close()

    assert snapshots == COURSES
    assert 0 < len(deferred) < COURSES
