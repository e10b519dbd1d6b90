"""Readers of the log are woken by what is appended to their shards, and by nothing else."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.commands.batch_limits import BatchLimits
from services.eventlog.append_signal import AppendSignal, notify_appended
from services.eventlog.postgres import READER, WRITER, HeartbeatConnection, connect
from services.eventlog.store import EventStore
from services.kafka.partitioning import ALL_SHARDS
from tests.integration.eventlog.test_batch_limits import Class, build_processor

DEADLINE_SECONDS = 10
NEVER_SECONDS = 600


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[HeartbeatConnection]:
    connection = await connect(database_url, "test", READER)
    yield connection
    await connection.close()


@pytest.fixture
async def writer(database_url: str) -> AsyncIterator[HeartbeatConnection]:
    connection = await connect(database_url, "test", WRITER)
    yield connection
    await connection.close()


async def listen(reader: HeartbeatConnection, *shards: int) -> AppendSignal:
    signal = AppendSignal(shards)
    await signal.listen(reader)
    return signal


async def test_append_of_a_batch_wakes_the_reader_of_its_shard(
    reader: HeartbeatConnection, writer: HeartbeatConnection
) -> None:
    group = Class()
    processor = await build_processor(EventStore(writer), BatchLimits(20_000, 16 << 20))
    (shard,) = group.watermarks
    signal = await listen(reader, shard)
    other_signal = await listen(reader, *(set(ALL_SHARDS) - {shard}))
    waiting = asyncio.create_task(signal.wait(NEVER_SECONDS))

    await processor.process(group.setup(), group.watermarks)

    await asyncio.wait_for(waiting, DEADLINE_SECONDS)
    other_waiting = asyncio.create_task(other_signal.wait(NEVER_SECONDS))
    await asyncio.sleep(0)
    assert not other_waiting.done()
    other_waiting.cancel()


async def test_signal_that_came_before_the_query_ends_the_wait_until_it_is_cleared(
    reader: HeartbeatConnection, writer: HeartbeatConnection
) -> None:
    signal = await listen(reader, 3)
    await notify_appended(writer, [1, 3])
    await asyncio.wait_for(signal.wait(NEVER_SECONDS), DEADLINE_SECONDS)
    await asyncio.wait_for(signal.wait(NEVER_SECONDS), DEADLINE_SECONDS)

    signal.clear()
    waiting = asyncio.create_task(signal.wait(NEVER_SECONDS))
    await asyncio.sleep(0)
    assert not waiting.done()
    await notify_appended(writer, [3])
    await asyncio.wait_for(waiting, DEADLINE_SECONDS)


async def test_wait_for_a_lost_signal_ends_with_its_time(reader: HeartbeatConnection) -> None:
    signal = await listen(reader, 3)

    await asyncio.wait_for(signal.wait(0.01), DEADLINE_SECONDS)
