"""Refused commands use no stream numbers."""

import asyncpg

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.store import EventStore
from tests.integration.eventlog.test_complexity import CommandRecords, get_watermarks

BATCHES = 4
REFUSED_PER_BATCH = 5
DRAWN = "select case when is_called then last_value else 0 end from stream_number"


async def test_refused_commands_use_no_stream_numbers(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        processor = CommandProcessor(log, await log.current_incarnation("commands"), DEFAULT_SHARD_COUNT)

        settings = {"grader_count": 2, "final_grader": "fg", "points_possible": 100, "grading_type": "points"}
        for batch in range(BATCHES):
            records = [
                commands.to_record(world, command)
                for world in commands.worlds[:REFUSED_PER_BATCH]
                for command in world.given({"do": "assignment", "id": f"of no course, {batch}", **settings})
            ]
            await processor.process(records, get_watermarks(records))
        reasons = await connection.fetch("select distinct body->>'reason' from verdict")
        assert [tuple(row) for row in reasons] == [("not_found",)]
        assert await connection.fetchval("select count(*) from event") == 0
        assert await connection.fetchval(DRAWN) == REFUSED_PER_BATCH

        setup_records = commands.setup_records()
        await processor.process(setup_records, get_watermarks(setup_records))
        streams = await connection.fetchrow(
            "select count(*), count(distinct number), min(number), max(number) from stream"
        )
        assert streams is not None
        assert tuple(streams) == (streams[0], streams[0], 1, streams[0])
        assert await connection.fetchval(DRAWN) == streams[0]
    finally:
        await connection.close()
