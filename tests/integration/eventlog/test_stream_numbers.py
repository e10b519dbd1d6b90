"""Refused commands use no stream numbers, and numbers that streams have are not used again."""

import asyncpg
import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.store import EventStore, StreamNumbersBehind
from tests.fixtures.canvas.adapter import World
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


async def test_numbers_kept_from_before_a_failover_are_dropped_if_streams_have_them(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        processor = CommandProcessor(log, await log.current_incarnation("commands"), DEFAULT_SHARD_COUNT)
        settings = {"grader_count": 2, "final_grader": "fg", "points_possible": 100, "grading_type": "points"}
        given = commands.worlds[0].given({"do": "assignment", "id": "of no course", **settings})
        refused = [commands.to_record(commands.worlds[0], command) for command in given]
        await processor.process(refused, get_watermarks(refused))
        assert await connection.fetchval(DRAWN) == 1
        await connection.execute("insert into stream values (1, 9, 1, null, 0)")

        setup_records = commands.setup_records()
        await processor.process(setup_records, get_watermarks(setup_records))

        assert await connection.fetchval("select min(number) from stream where root_account <> 9") > 1
    finally:
        await connection.close()


async def test_sequence_behind_the_streams_is_named_with_its_remedy(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), CommandRecords()
        source = await log.current_incarnation("commands")
        setup_records = commands.setup_records()
        await CommandProcessor(log, source, DEFAULT_SHARD_COUNT).process(setup_records, get_watermarks(setup_records))
        count = await connection.fetchval("select count(*) from stream")
        await connection.execute("select setval('stream_number', 1)")

        commands.worlds = [World() for _ in range(3)]
        new_records = commands.setup_records()
        processor = CommandProcessor(log, source, DEFAULT_SHARD_COUNT)
        with pytest.raises(StreamNumbersBehind, match="Run as the database's owner: select setval") as refusal:
            await processor.process(new_records, get_watermarks(new_records))
        await connection.execute(str(refusal.value).partition("owner: ")[2])
        await processor.process(new_records, get_watermarks(new_records))

        assert await connection.fetchval("select count(*) from stream") == count + 2 * len(commands.worlds)
    finally:
        await connection.close()
