"""The handler's poll: what arrives during a batch is in the next one, and nothing is lost to an error."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import CorruptRecordException

from services.handler import record_poll
from services.handler.record_poll import RecordPoll
from services.kafka.client_options import client_options
from tests.fixtures.system import RUN_PREFIX
from tests.integration.kafka.test_client_compat import create_topic

DEADLINE_SECONDS = 30
PATIENT_MILLISECONDS = 10_000


@asynccontextmanager
async def open_clients(bootstrap: str, topic: str) -> AsyncIterator[tuple[AIOKafkaProducer, AIOKafkaConsumer]]:
    async with create_topic(bootstrap, topic):
        producer = AIOKafkaProducer(**client_options(bootstrap))
        consumer = AIOKafkaConsumer(**client_options(bootstrap), auto_offset_reset="earliest")
        await producer.start()
        await consumer.start()
        try:
            consumer.assign([TopicPartition(topic, 0)])
            yield producer, consumer
        finally:
            await consumer.stop()
            await producer.stop()


async def send(producer: AIOKafkaProducer, topic: str, *values: bytes) -> None:
    for value in values:
        await producer.send_and_wait(topic, value, partition=0)


async def poll_until_records(poll: RecordPoll, consumer: AIOKafkaConsumer) -> list[Any]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (records := await poll(consumer)):
            pass
    return [record.value for record in records]


async def wait_until_prefetched(consumer: AIOKafkaConsumer) -> None:
    fetcher: Any = consumer._fetcher
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not fetcher._records:
            await asyncio.sleep(0.01)


async def test_records_that_arrive_during_a_batch_are_all_in_the_next_one(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_poll, "MORE_MILLISECONDS", PATIENT_MILLISECONDS)
    topic, poll = f"{RUN_PREFIX}-meanwhile", RecordPoll(records_max=100)
    async with open_clients(bootstrap, topic) as (producer, consumer):
        await send(producer, topic, b"batch")
        assert await poll_until_records(poll, consumer) == [b"batch"]
        await send(producer, topic, b"prefetched")
        await wait_until_prefetched(consumer)
        await send(producer, topic, b"later")

        assert await poll_until_records(poll, consumer) == [b"prefetched", b"later"]


async def test_records_that_a_poll_waited_for_are_not_held_back(
    bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_poll, "MORE_MILLISECONDS", 1_000 * DEADLINE_SECONDS)
    monkeypatch.setattr(record_poll, "IDLE_MILLISECONDS", PATIENT_MILLISECONDS)
    topic, poll = f"{RUN_PREFIX}-waited-for", RecordPoll(records_max=100)
    async with open_clients(bootstrap, topic) as (producer, consumer):
        polling = asyncio.create_task(poll_until_records(poll, consumer))
        await asyncio.sleep(0)
        await send(producer, topic, b"one")
        assert await asyncio.wait_for(polling, DEADLINE_SECONDS / 2) == [b"one"]


async def test_batch_has_no_more_records_than_it_may(bootstrap: str) -> None:
    topic, poll = f"{RUN_PREFIX}-limited", RecordPoll(records_max=2)
    async with open_clients(bootstrap, topic) as (producer, consumer):
        await send(producer, topic, b"1", b"2", b"3")
        await wait_until_prefetched(consumer)
        values = await poll_until_records(poll, consumer)
        assert len(values) <= 2
        while len(values) < 3:
            values += await poll_until_records(poll, consumer)
        assert values == [b"1", b"2", b"3"]


class FailingConsumer:
    """A consumer whose second request fails."""

    def __init__(self, *answers: Sequence[Any] | Exception) -> None:
        self.answers = list(answers)

    async def getmany(self, **options: Any) -> dict[TopicPartition, Sequence[Any]]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {TopicPartition("commands", 0): answer}


async def test_error_of_the_second_request_is_raised_after_the_records_in_hand() -> None:
    consumer: Any = FailingConsumer(["one"], CorruptRecordException(), ["two", "three"])
    poll: Any = RecordPoll(records_max=2)

    assert await poll(consumer) == ("one",)
    with pytest.raises(CorruptRecordException):
        await poll(consumer)
    assert await poll(consumer) == ("two", "three")
