"""A topic reader leaves nothing open, even if it is cancelled while it connects."""

import asyncio
import gc
import warnings

import pytest
from aiokafka import TopicPartition

from services.kafka.topic_reader import open_reader


async def test_reader_cancelled_while_connecting_is_closed(mute: str) -> None:
    async def read() -> None:
        async with open_reader(mute, [TopicPartition("nothing", 0)]):
            raise AssertionError("no broker answers")

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.2)
        gc.collect()
    assert [text for text in map(str, said) if "AIOKafkaConsumer" in text] == []
