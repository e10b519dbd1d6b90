"""A batch is appended only if the watermarks are unchanged since the decision, and the clocks agree."""

import time

import asyncpg
import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor, ConcurrentAppend
from services.eventlog.clocks import ClocksDiffer
from services.eventlog.store import EventStore
from tests.integration.eventlog.test_complexity import COURSES, CommandRecords, get_watermarks

PROCESSED = 'select partition, "offset" from verdict order by 1, 2'


@pytest.mark.parametrize("is_lower", [True, False], ids=["a log that lost records", "records of another writer"])
async def test_batch_decided_on_another_watermark_is_refused_and_not_written(database_url: str, is_lower: bool) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        processor = CommandProcessor(log, await log.current_incarnation("commands"), DEFAULT_SHARD_COUNT)
        setup_records = commands.setup_records()
        await processor.process(setup_records, get_watermarks(setup_records))
        processed = await connection.fetch(PROCESSED)
        lost_records = commands.grade_records(COURSES)
        next_records = commands.grade_records(COURSES) if is_lower else setup_records[-1:]
        with pytest.raises(ConcurrentAppend):
            await processor.process(next_records, get_watermarks(next_records))
        assert await connection.fetch(PROCESSED) == processed

        await processor.process(lost_records, get_watermarks(lost_records))
        assert len(await connection.fetch(PROCESSED)) == len(processed) + COURSES
    finally:
        await connection.close()


@pytest.mark.parametrize(("seconds", "direction"), [(3_600, "behind"), (-3_600, "ahead of")])
async def test_nothing_is_decided_while_clocks_differ(database_url: str, seconds: int, direction: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection, 60, lambda: time.time() + seconds), CommandRecords()
        source = await log.current_incarnation("commands")
        records = commands.setup_records()
        with pytest.raises(ClocksDiffer, match=rf"clock is 3\d\d\d s {direction} this process's; nothing is decided"):
            await CommandProcessor(log, source, DEFAULT_SHARD_COUNT).process(records, get_watermarks(records))
        assert await connection.fetch(PROCESSED) == []

        log = EventStore(connection, 60)
        await CommandProcessor(log, source, DEFAULT_SHARD_COUNT).process(records, get_watermarks(records))
        assert len(await connection.fetch(PROCESSED)) == len(records)
    finally:
        await connection.close()
