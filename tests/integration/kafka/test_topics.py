"""The topics that ``moderated-grading admin create-topics`` makes can be used at once."""

import asyncio
import logging

import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import TOPICS
from services.kafka import topics
from services.kafka.client_options import client_options
from services.kafka.relay_progress import RelayProgress
from tests.fixtures.system import RUN_PREFIX


async def test_new_topics_accept_records_immediately(bootstrap: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "aiokafka")
    topic_names = await topics.create_missing_topics(
        bootstrap, f"{RUN_PREFIX}-made", RelayProgress.initial("an installation")
    )
    producer = AIOKafkaProducer(**client_options(bootstrap))
    await producer.start()
    try:
        partitions = [
            (name, number) for name in topic_names for number in range(TOPICS[name.rsplit(".", 1)[1]].partition_count())
        ]
        sent = [await producer.send(name, b"{}", b"key", partition=number) for name, number in partitions]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    assert len(partitions) == 6 * 12 + 4
    assert caplog.messages == []
