"""Records that were fetched and never reached the decisions: they are read again, or missed aloud."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import CorruptRecordException, IllegalStateError
from faststream.kafka.message import KafkaAckableMessage

from services.admin.accept_recreated_topic import accept_recreated_topic
from services.commands.batch_result import BatchResult
from services.commands.processor import CommandProcessor
from services.config import HandlerSettings
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.handler import consumer as command_consumer
from services.handler.metrics import HandlerTelemetry
from services.handler.position_tracker import PositionTracker
from services.kafka import topics
from services.runtime.health import Health
from services.telemetry.metrics import HandlerMetrics
from tests.fixtures.fault_helpers import count_rows, course_commands, recreate_commands_topic
from tests.fixtures.process_runner import DEADLINE_SECONDS, Json
from tests.fixtures.system import System

Record = ConsumerRecord[Any, Any]


@asynccontextmanager
async def open_consumer(system: System, *partitions: int) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.bootstrap,
        group_id=f"{system.prefix}.reader",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign(
            [TopicPartition(topics.full_topic_name(system.prefix, "commands"), number) for number in partitions]
        )
        yield consumer
    finally:
        await consumer.stop()


async def fetch(consumer: AIOKafkaConsumer, records_max: int) -> list[Record]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (batches := await consumer.getmany(timeout_ms=100, max_records=records_max)):
            pass
    return [record for records in batches.values() for record in records]


async def send(system: System, commands: Sequence[Json], partition: int) -> None:
    for command in commands:
        await system.client.send_raw(json.dumps(command).encode(), partition=partition)
    await system.client.producer.flush()


class ConsumerReader:
    """Fetches, looks which records are new, and decides them."""

    def __init__(self, deciding: CommandProcessor, consumer: AIOKafkaConsumer) -> None:
        self.processor = deciding
        self.position_tracker = PositionTracker(deciding.event_store, deciding.incarnation)
        self.consumer = consumer

    async def process(self, records: Sequence[Record]) -> None:
        if new_records := await self.position_tracker.filter_new(records, self.consumer):
            await self.processor.process(new_records)
            self.position_tracker.advance(new_records)


@pytest.fixture
async def processor(system: System) -> AsyncIterator[CommandProcessor]:
    connection = await connect(system.database_url, "handler", WRITER)
    log = EventStore(connection)
    yield CommandProcessor(log, await log.current_incarnation(topics.full_topic_name(system.prefix, "commands")))
    await connection.close()


async def test_lost_batch_is_refetched(system: System, processor: CommandProcessor) -> None:
    await send(system, course_commands(9), partition=0)
    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        await reader.process(await fetch(consumer, 3))
        lost = await fetch(consumer, 3)
        assert [record.offset for record in lost] == [3, 4, 5]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_rows(system) < 9:
                await reader.process(await fetch(consumer, 3))


async def test_commands_between_transaction_markers_are_processed(system: System, processor: CommandProcessor) -> None:
    commands = topics.full_topic_name(system.prefix, "commands")
    producer = AIOKafkaProducer(bootstrap_servers=system.bootstrap, transactional_id=f"{system.prefix}.lms")
    await producer.start()
    for command in course_commands(4):
        async with producer.transaction():
            await producer.send_and_wait(commands, json.dumps(command).encode(), partition=0)
    await producer.stop()
    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_rows(system) < 4:
                await reader.process(await fetch(consumer, 1))


async def test_records_removed_by_retention_stop_the_partition(system: System, processor: CommandProcessor) -> None:
    await send(system, course_commands(3), partition=0)
    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        await reader.process(await fetch(consumer, 3))
        await send(system, course_commands(3), partition=0)
        admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
        await admin.start()
        partition = TopicPartition(topics.full_topic_name(system.prefix, "commands"), 0)
        await admin.delete_records({partition: RecordsToDelete(before_offset=5)})
        await admin.close()
        await consumer.seek_to_beginning(partition)  # As aiokafka does where a place is out of range.
        await reader.process(await fetch(consumer, 3))
        assert "records 3 to 4 are gone by retention" in (reader.position_tracker.problem or "")
        assert await count_rows(system) == 3


async def test_watermark_query_survives_a_concurrent_rebalance(system: System, processor: CommandProcessor) -> None:
    for partition in (0, 1):
        await send(system, course_commands(2), partition)
    async with open_consumer(system, 0, 1) as consumer:
        reader = ConsumerReader(processor, consumer)
        first = await fetch(consumer, 1)
        await reader.process(first)
        others: list[Record] = []
        while len(others) < 3:
            others += await fetch(consumer, 3)
        looking = asyncio.create_task(reader.position_tracker.filter_new(others, consumer))
        await asyncio.sleep(0)
        reader.position_tracker.reset()
        assert await looking == others


async def handle(
    subscriber: command_consumer.CommandConsumer, consumer: AIOKafkaConsumer, records: Sequence[Record]
) -> None:
    batch = tuple(records)
    await subscriber.handle(batch, KafkaAckableMessage(batch, b"", consumer=consumer))


def build_subscriber(system: System) -> command_consumer.CommandConsumer:
    settings = HandlerSettings(
        database_url=system.database_url, kafka_bootstrap=system.bootstrap, topic_prefix=system.prefix
    )
    _, (subscriber, *_) = command_consumer.build_app(settings, Health(), HandlerTelemetry(HandlerMetrics(), None), None)
    return subscriber


async def test_repeatedly_lost_batch_is_refetched_after_corrupt_record_errors(
    system: System,
) -> None:
    async def fails(consumer: AIOKafkaConsumer) -> tuple[Record, ...]:
        assert await fetch(consumer, 3)
        raise CorruptRecordException

    await send(system, course_commands(12), partition=0)
    subscriber = build_subscriber(system)
    async with open_consumer(system, 0) as consumer:
        for _ in range(3):
            await handle(subscriber, consumer, await fetch(consumer, 3))
            with pytest.raises(CorruptRecordException):
                await subscriber.with_heartbeat(fails)(consumer)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_rows(system) < 12:
                await handle(subscriber, consumer, await fetch(consumer, 3))
    await subscriber._disconnect()


async def test_recreated_topic_is_detected_by_its_first_record(system: System) -> None:
    await send(system, course_commands(2), partition=0)
    subscriber = build_subscriber(system)
    async with open_consumer(system, 0) as consumer:
        subscriber.faststream_subscriber.consumer = consumer
        await handle(subscriber, consumer, await fetch(consumer, 9))
        await subscriber.poll_lag()
        assert subscriber.health.component_problems == {}
    await recreate_commands_topic(system)
    await send(system, course_commands(4), partition=0)
    async with open_consumer(system, 0) as consumer:
        subscriber.faststream_subscriber.consumer = consumer
        consumer.seek(TopicPartition(topics.full_topic_name(system.prefix, "commands"), 0), 2)
        await handle(subscriber, consumer, await fetch(consumer, 9))
        assert await count_rows(system) == 4
        await subscriber.poll_lag()
    await subscriber._disconnect()
    assert "moderated-grading admin accept-recreated-topic" in subscriber.health.component_problems[subscriber.name]
    commands_topic = topics.full_topic_name(system.prefix, "commands")
    await accept_recreated_topic(system.bootstrap, system.database_url, commands_topic, "it was recreated", force=False)
    assert await count_rows(system, "source") == 2


async def test_batch_of_a_revoked_partition_is_not_processed(system: System) -> None:
    await send(system, course_commands(3), partition=0)
    subscriber = build_subscriber(system)
    async with open_consumer(system, 0) as consumer:
        batch = (await fetch(consumer, 3))[1:]
        consumer.assign([TopicPartition(batch[0].topic, 1)])
        with pytest.raises(IllegalStateError):
            await handle(subscriber, consumer, batch)
    await subscriber._disconnect()
    assert subscriber.health.component_problems == {}
    assert await count_rows(system) == 0


async def test_failing_partition_loses_no_records_of_a_rewound_partition(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_consumer, "RETRY_SECONDS", (0.0,))
    await send(system, course_commands(4), partition=0)
    await send(system, course_commands(1), partition=1)

    async def fails(*_: Any) -> None:
        raise AssertionError("a bug")

    subscriber = build_subscriber(system)
    async with open_consumer(system, 0, 1) as consumer:
        by_partition: dict[int, list[Record]] = {0: [], 1: []}
        while sum(map(len, by_partition.values())) < 5:
            for record in await fetch(consumer, 9):
                by_partition[record.partition].append(record)
        # As when the group's offset is ahead of a log that was restored.
        batch = [*by_partition[0][2:], *by_partition[1]]
        monkeypatch.setattr(CommandProcessor, "process", fails)
        for _ in range(2):
            await handle(subscriber, consumer, batch)
            assert "cannot be decided" in subscriber.health.component_problems[subscriber.name]
            batch = await fetch(consumer, 9)
        monkeypatch.undo()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handle(subscriber, consumer, batch)
            while await count_rows(system) < 5:
                await handle(subscriber, consumer, await fetch(consumer, 9))
    await subscriber._disconnect()
    assert subscriber.health.component_problems == {}


async def test_failing_partition_does_not_block_another_partition(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_consumer, "RETRY_SECONDS", (0.0,))
    settle = CommandProcessor.process

    async def fails_in_0(deciding: CommandProcessor, records: Sequence[Record]) -> BatchResult:
        assert all(record.partition == 1 for record in records), "a bug"
        return await settle(deciding, records)

    monkeypatch.setattr(CommandProcessor, "process", fails_in_0)
    subscriber = build_subscriber(system)
    await send(system, course_commands(1), partition=0)
    async with open_consumer(system, 0, 1) as consumer:
        for number in range(1, 4):
            await send(system, course_commands(1), partition=1)
            batch: list[Record] = []
            while {record.partition for record in batch} != {0, 1}:
                batch += await fetch(consumer, 9)
            await handle(subscriber, consumer, batch)
            assert await count_rows(system) == number
    await subscriber._disconnect()
    assert "partition 0 cannot be decided" in subscriber.health.component_problems[subscriber.name]
