"""The gateway's producer while one partition takes no records, and when it is replaced."""

import asyncio
import uuid

import pytest
from aiokafka.errors import NotEnoughReplicasError, OutOfOrderSequenceNumber, UnknownError
from aiokafka.partitioner import DefaultPartitioner

from services.gateway import command_producer
from services.gateway.command_producer import NotSent, ProducerRecord
from tests.fixtures.process_runner import wait_until
from tests.fixtures.running_producer import run_producer
from tests.fixtures.small_broker import SmallBroker

TOPIC = "commands"
PARTITIONS = [0, 1]
STUCK, OTHER = PARTITIONS
COURSES = {DefaultPartitioner()(str(course).encode(), PARTITIONS, PARTITIONS): course for course in range(1_001, 1_020)}
"""A course for each partition."""
ACKNOWLEDGED_SECONDS_MAX = 10.0
PENDING_SECONDS = 0.1


def build_record(partition: int, value: bytes) -> ProducerRecord:
    return ProducerRecord(str(uuid.uuid4()), COURSES[partition], value, [])


async def test_partition_that_takes_no_records_stops_only_its_own_courses() -> None:
    async with SmallBroker(TOPIC, len(PARTITIONS)) as broker, run_producer(broker.address, TOPIC) as producer:
        broker.refusals[STUCK] = NotEnoughReplicasError
        assert await producer.send(build_record(STUCK, b"first"), PENDING_SECONDS) is None
        values = [b"%d " % number * 500 for number in range(100, 130)]
        sends = [
            asyncio.create_task(producer.send(build_record(STUCK, value), ACKNOWLEDGED_SECONDS_MAX)) for value in values
        ]
        while not any(send.done() for send in sends):
            assert (await producer.send(build_record(OTHER, b"other"), ACKNOWLEDGED_SECONDS_MAX)) is not None
            await asyncio.sleep(PENDING_SECONDS)
        broker.refusals.clear()
        results = await asyncio.gather(*sends, return_exceptions=True)

        assert any(isinstance(result, NotSent) for result in results)
        taken = [value for value, result in zip(values, results, strict=True) if not isinstance(result, NotSent)]
        assert broker.values[STUCK] == [b"first", *taken]
        assert (await producer.send(build_record(OTHER, b"other"), ACKNOWLEDGED_SECONDS_MAX)) is not None
        assert (producer.in_flight, broker.producers_started) == (set(), 1)


async def test_replaced_producer_sends_nothing_after_its_successor_began() -> None:
    async with SmallBroker(TOPIC, len(PARTITIONS)) as broker, run_producer(broker.address, TOPIC) as producer:
        broker.refusals = {STUCK: NotEnoughReplicasError, OTHER: UnknownError}
        old_connections = set(broker.connections)
        sent, queued = build_record(STUCK, b"5"), build_record(STUCK, b"6")
        assert await producer.send(sent, PENDING_SECONDS) is None
        await wait_until(lambda: broker.refused[STUCK], "the grade was sent")
        queueing = asyncio.create_task(producer.send(queued, ACKNOWLEDGED_SECONDS_MAX))

        assert await producer.send(build_record(OTHER, b"failing"), ACKNOWLEDGED_SECONDS_MAX) is None
        broker.refusals = {STUCK: NotEnoughReplicasError}
        assert await producer.send(build_record(OTHER, b"while it is replaced"), ACKNOWLEDGED_SECONDS_MAX) == (OTHER, 0)
        broker.refusals.clear()
        assert await producer.send(build_record(STUCK, b"7"), ACKNOWLEDGED_SECONDS_MAX) == (STUCK, 0)

        await wait_until(lambda: not old_connections & broker.connections, "the old producer has disconnected", 5)
        assert broker.values[STUCK] == [b"7"]
        with pytest.raises(NotSent):
            await queueing
        assert [producer.is_pending(record.command_id) for record in (sent, queued)] == [True, False]
        assert (producer.in_flight, broker.producers_started) == (set(), 2)


async def test_command_that_was_called_pending_stays_so_when_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_producer, "UNDECIDED_SECONDS", 0.5)
    async with SmallBroker(TOPIC, len(PARTITIONS)) as broker, run_producer(broker.address, TOPIC) as producer:
        broker.refusals[STUCK] = NotEnoughReplicasError
        record = build_record(STUCK, b"7")
        assert await producer.send(record, PENDING_SECONDS) is None
        broker.refusals.clear()
        await wait_until(lambda: not producer.in_flight, "the brokers acknowledge it")

        assert producer.is_pending(record.command_id)
        await wait_until(lambda: not producer.is_pending(record.command_id), "it is forgotten")


async def test_command_that_follows_a_refused_one_is_not_called_pending() -> None:
    async with SmallBroker(TOPIC, len(PARTITIONS)) as broker, run_producer(broker.address, TOPIC) as producer:
        broker.refusals[STUCK] = OutOfOrderSequenceNumber
        record = build_record(STUCK, b"7")
        with pytest.raises(NotSent, match="refused an earlier one"):
            await producer.send(record, ACKNOWLEDGED_SECONDS_MAX)
        broker.refusals.clear()

        assert not producer.is_pending(record.command_id)
        assert await producer.send(record, ACKNOWLEDGED_SECONDS_MAX) == (STUCK, 0)
        assert broker.producers_started == 2
