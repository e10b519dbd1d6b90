"""A closed producer sends nothing more, whatever its broker does, and nobody waits for its records."""

import asyncio

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, NotEnoughReplicasError, ProducerClosed

from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from tests.fixtures.process_runner import wait_until
from tests.fixtures.small_broker import SmallBroker

TOPIC = "commands"
CLOSE_SECONDS_MAX = 5
"""Far less than a request may take, which is 40 s."""


async def start_producer(broker: SmallBroker) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(**client_options(broker.address), enable_idempotence=True, acks="all")
    await producer.start()
    return producer


async def test_records_that_no_broker_takes_are_given_up() -> None:
    async with SmallBroker(TOPIC, 1) as broker:
        broker.refusals[0] = NotEnoughReplicasError
        producer = await start_producer(broker)
        sent = await producer.send(TOPIC, b"sent")
        await wait_until(lambda: broker.refused[0], "the record was sent")
        queued = [await producer.send(TOPIC, b"queued " * 1_000) for _ in range(2)]

        await close_producer(producer, 0.05)

        broker.refusals.clear()
        await wait_until(lambda: not broker.connections, "the producer has disconnected")
        assert broker.values == {}
        assert isinstance(sent.exception(), KafkaConnectionError)
        assert [type(each.exception()) for each in queued] == [ProducerClosed, ProducerClosed]
        with pytest.raises(ProducerClosed):
            await producer.send(TOPIC, b"late")


async def test_request_that_is_not_answered_does_not_delay_the_close() -> None:
    async with SmallBroker(TOPIC, 1) as broker:
        broker.answers_produce_requests = False
        producer = await start_producer(broker)
        sent = await producer.send(TOPIC, b"sent")

        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            await close_producer(producer, 0.05)

        assert isinstance(sent.exception(), KafkaConnectionError | ProducerClosed)
        await wait_until(lambda: not broker.connections, "the producer has disconnected")


async def test_close_that_is_cancelled_ends_the_producer_nevertheless() -> None:
    async with SmallBroker(TOPIC, 1) as broker:
        broker.answers_produce_requests = False
        producer = await start_producer(broker)
        sent = await producer.send(TOPIC, b"sent")
        closing = asyncio.create_task(close_producer(producer))
        await asyncio.sleep(0)

        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

        assert sent.exception() is not None
        await wait_until(lambda: not broker.connections, "the producer has disconnected")


async def test_records_that_the_broker_takes_are_acknowledged() -> None:
    async with SmallBroker(TOPIC, 1) as broker:
        producer = await start_producer(broker)
        sent = [await producer.send(TOPIC, b"%d" % number) for number in range(3)]

        await close_producer(producer)
        await close_producer(producer)

        assert [each.result().offset for each in sent] == [0, 1, 2]
        assert broker.values[0] == [b"0", b"1", b"2"]
