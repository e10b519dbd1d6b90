"""The gateway's producer after the broker has refused a record."""

import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.gateway.command_producer import NotSent, ProducerRecord
from services.kafka.client_options import client_options
from tests.fixtures.running_producer import run_producer
from tests.fixtures.system import RUN_PREFIX

RECORD_BYTES_MAX = 100_000
ACKNOWLEDGED_SECONDS_MAX = 60.0


async def create_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1, topic_configs={"max.message.bytes": str(RECORD_BYTES_MAX)})])
    finally:
        await admin.close()


async def test_command_that_follows_a_refused_one_is_not_called_pending(bootstrap: str) -> None:
    """Its sequence number leaves a gap, for which the broker refuses it; a new producer sends the next one."""
    topic = f"{RUN_PREFIX}-refusals"
    await create_topic(bootstrap, topic)
    async with run_producer(bootstrap, topic) as producer:

        async def send(value: bytes) -> tuple[int, int] | None:
            return await producer.send(ProducerRecord(str(uuid.uuid4()), 1_001, value, []), ACKNOWLEDGED_SECONDS_MAX)

        assert await send(b"before") == (0, 0)
        for value in (b" " * 2 * RECORD_BYTES_MAX, b"follows"):
            with pytest.raises(NotSent, match="Kafka refused"):
                await send(value)

        assert await send(b"afterwards") == (0, 1)
