"""The scheduler's producer while one partition takes no records, and when it is replaced."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiokafka.errors import KafkaTimeoutError, NotEnoughReplicasError, OutOfOrderSequenceNumber
from aiokafka.partitioner import DefaultPartitioner

from services.config.scheduler import SchedulerSettings
from services.eventlog.schedules import Schedule
from services.scheduler import sender
from services.scheduler.sender import PublicationSender, SendResult, send_each
from tests.fixtures.process_runner import wait_until
from tests.fixtures.small_broker import SmallBroker

PARTITIONS = [0, 1]
STUCK, OTHER = PARTITIONS
COURSES = {DefaultPartitioner()(str(course).encode(), PARTITIONS, PARTITIONS): course for course in range(1_001, 1_020)}
"""A course for each partition."""
ANY = Schedule(1, 1, 7001, 7101, "a", datetime(2026, 1, 31, 9, 0, tzinfo=UTC), 11, None, "a", seconds_left=0.0)
SCHEDULES = {partition: replace(ANY, course=COURSES[partition], command_id=str(partition)) for partition in PARTITIONS}


@pytest.fixture
async def broker() -> AsyncIterator[SmallBroker]:
    async with SmallBroker("moderation.commands", len(PARTITIONS)) as started:
        yield started


@contextlib.asynccontextmanager
async def open_sender(broker: SmallBroker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PublicationSender]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", broker.address)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setattr(sender, "LAST_SECONDS_MAX", 0.1)
    publications = PublicationSender(SchedulerSettings(), None, {})
    try:
        yield publications
    finally:
        await publications.close()


async def send(publications: PublicationSender, *partitions: int) -> SendResult:
    await publications.start()
    return await send_each(publications.send, [SCHEDULES[partition] for partition in partitions])


async def test_partition_that_takes_no_records_gets_one_record_however_often_it_is_tried(
    broker: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sender(broker, monkeypatch) as publications:
        broker.refusals[STUCK] = NotEnoughReplicasError
        for _ in range(3):
            result = await send(publications, STUCK, OTHER)
            assert (set(result.sent), type(result.error)) == ({str(OTHER)}, KafkaTimeoutError)
        broker.refusals.clear()
        await wait_until(lambda: broker.values[STUCK], "the record arrives when the partition takes it")
        again = await send(publications, OTHER)

        assert (set(again.sent), again.error) == ({str(OTHER)}, None)
        assert (len(broker.values[STUCK]), len(broker.values[OTHER]), broker.producers_started) == (1, 4, 1)


async def test_record_with_an_old_token_is_sent_again(broker: SmallBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "RENEW_SECONDS", 0.0)
    async with open_sender(broker, monkeypatch) as publications:
        broker.refusals[STUCK] = NotEnoughReplicasError
        for _ in range(2):
            await send(publications, STUCK)
        broker.refusals.clear()

        await wait_until(lambda: len(broker.values[STUCK]) == 2, "both records arrive")


async def test_failed_producer_is_replaced_and_sends_nothing_more(
    broker: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sender(broker, monkeypatch) as publications:
        broker.refusals = {STUCK: NotEnoughReplicasError, OTHER: OutOfOrderSequenceNumber}
        result = await send(publications, STUCK, OTHER)
        assert (set(result.sent), type(result.error)) == (set(), OutOfOrderSequenceNumber)
        old_connections = set(broker.connections)
        del broker.refusals[OTHER]
        assert (await send(publications, OTHER)).sent.keys() == {str(OTHER)}

        await wait_until(lambda: not old_connections & broker.connections, "the old producer has disconnected", 5)
        assert broker.producers_started == 2
        broker.refusals.clear()
        assert (await send(publications, STUCK)).sent.keys() == {str(STUCK)}
        assert len(broker.values[STUCK]) == 1


async def test_command_that_waits_for_the_topic_is_sent_by_the_next_producer(
    broker: SmallBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sender(broker, monkeypatch) as publications:
        broker.knows_topic = False
        result = await send(publications, OTHER)
        assert (set(result.sent), type(result.error)) == (set(), KafkaTimeoutError)
        await publications.close()
        broker.knows_topic = True
        monkeypatch.setattr(sender, "LAST_SECONDS_MAX", 10.0)

        assert (await send(publications, OTHER)).sent.keys() == {str(OTHER)}
