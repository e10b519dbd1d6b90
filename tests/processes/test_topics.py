"""The topics that ``python -m services.kafka.topics`` makes can be used at once."""

import asyncio
import logging

import pytest
from aiokafka import AIOKafkaProducer

from services.kafka import topics
from tests.conftest import RUN


async def test_topics_just_made_take_records_at_the_first_attempt(
    bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "aiokafka")
    made = await topics.create_missing_topics(bootstrap, f"{RUN}-made")
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        places = [
            (name, number) for name in made for number in range(topics.expected_partition_count(name.rsplit(".", 1)[1]))
        ]
        sent = [await producer.send(name, b"{}", b"key", partition=number) for name, number in places]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    assert len(places) == 6 * 12 + 1
    assert caplog.messages == []
