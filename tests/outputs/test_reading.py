"""Whoever reads topics leaves nothing open, also where it is ended before it is connected."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from services.outputs.reading import reader


@pytest.fixture
async def mute() -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""

    async def say_nothing(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
        while await reading.read(1 << 16):
            pass
        writing.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1")
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_reader_that_is_given_up_while_it_connects_is_closed(mute: str) -> None:
    async def read() -> None:
        async with reader(mute, [TopicPartition("nothing", 0)]):
            raise AssertionError("nobody answers")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.2)
        gc.collect()
    assert [text for text in map(str, said) if "AIOKafkaConsumer" in text] == []
