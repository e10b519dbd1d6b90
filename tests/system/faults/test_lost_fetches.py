"""Records that were fetched but not processed are fetched again, or the partition stops with a reason."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import CorruptRecordException, IllegalStateError
from faststream.kafka.message import KafkaAckableMessage

from schemas.topics import DEFAULT_SHARD_COUNT
from services.admin.accept_recreated_topic import accept_recreated_topic
from services.commands.batch_result import BatchResult
from services.commands.processor import CommandProcessor
from services.config.handler import HandlerSettings
from services.eventlog.clocks import ClocksDiffer
from services.eventlog.installation import Installation
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.handler import consumer as consumer_module
from services.handler.app import build_app
from services.handler.consumer import CommandConsumer
from services.handler.metrics import HandlerTelemetry
from services.handler.partition_watch import PartitionWatch
from services.handler.position_tracker import PositionTracker
from services.handler.record_poll import RecordPoll
from services.kafka import topics
from services.kafka.client_options import client_options
from services.runtime.command_line import ActionRefused
from services.runtime.health import Health
from services.telemetry.metrics.handler import HandlerMetrics
from tests.fixtures.fault_helpers import count_rows, course_commands, recreate_commands_topic
from tests.fixtures.process_runner import DEADLINE_SECONDS, Json
from tests.fixtures.system import System

Record = ConsumerRecord[Any, Any]


@asynccontextmanager
async def open_consumer(system: System, *partitions: int) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **client_options(system.bootstrap),
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


async def remove_records(system: System, partition: int, before_offset: int) -> TopicPartition:
    """Remove the first records of a partition of the commands topic, as retention does."""
    place = TopicPartition(topics.full_topic_name(system.prefix, "commands"), partition)
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    await admin.delete_records({place: RecordsToDelete(before_offset=before_offset)})
    await admin.close()
    return place


class ConsumerReader:
    """Filters and processes batches like the handler."""

    def __init__(self, processor: CommandProcessor, consumer: AIOKafkaConsumer) -> None:
        self.processor = processor
        self.position_tracker = PositionTracker(processor.event_store, processor.incarnation)
        self.consumer = consumer

    async def process(self, records: Sequence[Record]) -> None:
        new_records, watermarks = await self.position_tracker.filter_new(records, self.consumer)
        if new_records:
            await self.processor.process(new_records, watermarks)
            self.position_tracker.advance(new_records)


@pytest.fixture
async def processor(system: System) -> AsyncIterator[CommandProcessor]:
    # No handler by its name: a topic is accepted while none is connected.
    connection = await connect(system.database_url, "test", WRITER)
    event_store = EventStore(connection)
    incarnation = await event_store.current_incarnation(topics.full_topic_name(system.prefix, "commands"))
    yield CommandProcessor(event_store, incarnation, DEFAULT_SHARD_COUNT)
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
    producer = AIOKafkaProducer(**client_options(system.bootstrap), transactional_id=f"{system.prefix}.lms")
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


async def test_partition_whose_last_transaction_markers_retention_removed_goes_on(system: System) -> None:
    commands = topics.full_topic_name(system.prefix, "commands")
    producer = AIOKafkaProducer(**client_options(system.bootstrap), transactional_id=f"{system.prefix}.lms")
    await producer.start()
    async with producer.transaction():
        await producer.send_and_wait(commands, json.dumps(course_commands(1)[0]).encode(), partition=0)
    await producer.stop()
    command_consumer = build_command_consumer(system)
    poll = command_consumer.with_heartbeat(RecordPoll(9))
    place = TopicPartition(commands, 0)
    async with open_consumer(system, 0) as consumer, asyncio.timeout(DEADLINE_SECONDS):
        while await count_rows(system) < 1 or await consumer.position(place) < 2 or await poll(consumer):
            records = await poll(consumer)
            if records:
                await handle(command_consumer, consumer, records)
        command_consumer.faststream_subscriber.consumer = consumer
        await check_kafka(command_consumer)
        await remove_records(system, 0, before_offset=2)
        command_consumer.disconnect()  # As after a failover: what was read is not forgotten.
        await send(system, course_commands(1), partition=0)
        while await count_rows(system) < 2:
            records = await poll(consumer)
            if records:
                await handle(command_consumer, consumer, records)
                assert command_consumer.health.component_problems == {}
    command_consumer.disconnect()


async def test_records_removed_by_retention_stop_the_partition(system: System, processor: CommandProcessor) -> None:
    await send(system, course_commands(3), partition=0)
    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        await reader.process(await fetch(consumer, 3))
        await send(system, course_commands(3), partition=0)
        partition = await remove_records(system, 0, before_offset=5)
        await consumer.seek_to_beginning(partition)  # As aiokafka does for an offset out of range.
        await reader.process(await fetch(consumer, 3))
        assert "records 3 to 4 were removed by retention" in (reader.position_tracker.problem or "")
        assert await count_rows(system) == 3


async def test_records_removed_before_the_first_decision_stop_the_partition_until_that_is_accepted(
    system: System, processor: CommandProcessor
) -> None:
    await send(system, course_commands(5), partition=0)
    await remove_records(system, 0, before_offset=3)
    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        records = await fetch(consumer, 5)
        await reader.process(records)
        assert "records 0 to 2 were removed by retention" in (reader.position_tracker.problem or "")
        assert await count_rows(system) == 0

        commands_topic = topics.full_topic_name(system.prefix, "commands")
        processor.incarnation = await accept_recreated_topic(
            system.bootstrap, system.database_url, commands_topic, "these are lost", force=False
        )
        reader = ConsumerReader(processor, consumer)
        await reader.process(records)
        assert reader.position_tracker.problem is None
        assert await count_rows(system) == 2
    with pytest.raises(ActionRefused):
        await accept_recreated_topic(system.bootstrap, system.database_url, commands_topic, "again", force=False)


async def test_topic_recreated_after_an_accepted_loss_is_accepted_from_its_beginning(
    system: System, processor: CommandProcessor
) -> None:
    await send(system, course_commands(5), partition=0)
    await remove_records(system, 0, before_offset=5)
    commands_topic = topics.full_topic_name(system.prefix, "commands")

    async def accept(reason: str) -> int:
        return await accept_recreated_topic(system.bootstrap, system.database_url, commands_topic, reason, force=False)

    # Nothing of the partition was ever processed: the log has only the offset at which it was accepted.
    await accept("these are lost")
    await recreate_commands_topic(system)
    await send(system, course_commands(2), partition=0)

    processor.incarnation = await accept("recreated on purpose")

    async with open_consumer(system, 0) as consumer:
        reader = ConsumerReader(processor, consumer)
        await reader.process(await fetch(consumer, 2))
        assert reader.position_tracker.problem is None
        assert await count_rows(system) == 2


async def test_accepting_a_loss_in_one_partition_decides_nothing_of_another_one_again(
    system: System, processor: CommandProcessor
) -> None:
    for partition in (0, 1):
        await send(system, course_commands(3), partition)
    commands_topic = topics.full_topic_name(system.prefix, "commands")
    async with open_consumer(system, 0, 1) as consumer:
        reader = ConsumerReader(processor, consumer)
        while await count_rows(system) < 6:
            await reader.process(await fetch(consumer, 6))
        await send(system, course_commands(2), partition=0)
        await remove_records(system, 0, before_offset=4)
        processor.incarnation = await accept_recreated_topic(
            system.bootstrap, system.database_url, commands_topic, "one command is lost", force=False
        )
        # A handler that starts checks the last processed record of each partition.
        for number, offset in ((0, 4), (1, 2)):
            consumer.seek(TopicPartition(commands_topic, number), offset)
        await send(system, course_commands(1), partition=1)
        reader = ConsumerReader(processor, consumer)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_rows(system) < 8:
                await reader.process(await fetch(consumer, 6))
        assert reader.position_tracker.watermarks == {0: 4, 1: 3}
        await consumer.seek_to_beginning(TopicPartition(commands_topic, 1))
        await reader.process(await fetch(consumer, 6))
        assert (reader.position_tracker.problem, await count_rows(system)) == (None, 8)


async def test_partition_that_lost_all_its_records_before_the_first_decision_is_reported_without_a_new_one(
    system: System,
) -> None:
    await send(system, course_commands(2), partition=0)
    await remove_records(system, 0, before_offset=2)
    command_consumer = build_command_consumer(system)
    async with open_consumer(system, 0, 1) as consumer:
        command_consumer.faststream_subscriber.consumer = consumer
        await check(command_consumer)
    command_consumer.disconnect()
    (problem,) = command_consumer.health.component_problems.values()
    assert "partition 0 of the commands topic is stopped: records 0 to 1 were removed by retention" in problem
    assert "partition 1" not in problem


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
        filtering = asyncio.create_task(reader.position_tracker.filter_new(others, consumer))
        await asyncio.sleep(0)
        reader.position_tracker.reset()
        assert (await filtering)[0] == others


async def handle(
    command_consumer: consumer_module.CommandConsumer, consumer: AIOKafkaConsumer, records: Sequence[Record]
) -> None:
    batch = tuple(records)
    await command_consumer.handle(batch, KafkaAckableMessage(batch, b"", consumer=consumer))


def build_command_consumer(system: System) -> consumer_module.CommandConsumer:
    settings = HandlerSettings(
        database_url=system.database_url, kafka_bootstrap=system.bootstrap, topic_prefix=system.prefix
    )
    installation = Installation(uuid.uuid4(), DEFAULT_SHARD_COUNT)
    _, consumers = build_app(settings, installation, Health(), HandlerTelemetry(HandlerMetrics(), None), None)
    return consumers[0]


async def test_repeatedly_lost_batch_is_refetched_after_corrupt_record_errors(
    system: System,
) -> None:
    async def fail_after_fetch(consumer: AIOKafkaConsumer) -> tuple[Record, ...]:
        assert await fetch(consumer, 3)
        raise CorruptRecordException

    async def poll_nothing(_: AIOKafkaConsumer) -> tuple[Record, ...]:
        return ()

    await send(system, course_commands(12), partition=0)
    command_consumer = build_command_consumer(system)
    async with open_consumer(system, 0) as consumer:
        for _ in range(3):
            await handle(command_consumer, consumer, await fetch(consumer, 3))
            with pytest.raises(CorruptRecordException):
                await command_consumer.with_heartbeat(fail_after_fetch)(consumer)
            assert "CorruptRecord" in str(command_consumer.health.component_problems)
        assert not await command_consumer.with_heartbeat(poll_nothing)(consumer)
        assert command_consumer.health.component_problems == {}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_rows(system) < 12:
                await handle(command_consumer, consumer, await fetch(consumer, 3))
    command_consumer.disconnect()


async def check_kafka(command_consumer: CommandConsumer) -> None:
    watch = PartitionWatch(
        [command_consumer], command_consumer.settings, DEFAULT_SHARD_COUNT, command_consumer.telemetry.metrics
    )
    await watch.check_kafka()
    await watch.topic_offsets.stop()


async def check(command_consumer: CommandConsumer) -> None:
    """Check log and topic once, as a handler does once a second."""
    watch = PartitionWatch(
        [command_consumer], command_consumer.settings, DEFAULT_SHARD_COUNT, command_consumer.telemetry.metrics
    )
    connection = await connect(command_consumer.settings.url(), "handler", WRITER)
    await EventStore(connection).current_incarnation(command_consumer.commands_topic)
    await watch.check_log(connection)
    await watch.check_kafka()
    await watch.topic_offsets.stop()
    await connection.close()


async def test_recreated_topic_is_detected_by_its_first_record(system: System) -> None:
    await send(system, course_commands(2), partition=0)
    command_consumer = build_command_consumer(system)
    async with open_consumer(system, 0) as consumer:
        command_consumer.faststream_subscriber.consumer = consumer
        await handle(command_consumer, consumer, await fetch(consumer, 9))
        await check_kafka(command_consumer)
        assert command_consumer.health.component_problems == {}
    await recreate_commands_topic(system)
    await send(system, course_commands(4), partition=0)
    async with open_consumer(system, 0) as consumer:
        command_consumer.faststream_subscriber.consumer = consumer
        consumer.seek(TopicPartition(topics.full_topic_name(system.prefix, "commands"), 0), 2)
        await handle(command_consumer, consumer, await fetch(consumer, 9))
        assert await count_rows(system) == 4
        await check_kafka(command_consumer)
    command_consumer.disconnect()
    problem = command_consumer.health.component_problems[command_consumer.name]
    assert "moderated-grading admin accept-recreated-topic" in problem
    commands_topic = topics.full_topic_name(system.prefix, "commands")
    await accept_recreated_topic(system.bootstrap, system.database_url, commands_topic, "it was recreated", force=False)
    assert await count_rows(system, "source") == 2


async def test_batch_of_a_revoked_partition_is_not_processed(system: System) -> None:
    await send(system, course_commands(3), partition=0)
    command_consumer = build_command_consumer(system)
    async with open_consumer(system, 0) as consumer:
        batch = (await fetch(consumer, 3))[1:]
        consumer.assign([TopicPartition(batch[0].topic, 1)])
        with pytest.raises(IllegalStateError):
            await handle(command_consumer, consumer, batch)
    command_consumer.disconnect()
    assert command_consumer.health.component_problems == {}
    assert await count_rows(system) == 0


async def test_failing_partition_loses_no_records_of_a_rewound_partition(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "RETRY_SECONDS", (0.0,))
    await send(system, course_commands(4), partition=0)
    await send(system, course_commands(1), partition=1)

    async def fail(*_: Any) -> None:
        raise AssertionError("a bug")

    command_consumer = build_command_consumer(system)
    async with open_consumer(system, 0, 1) as consumer:
        by_partition: dict[int, list[Record]] = {0: [], 1: []}
        while sum(map(len, by_partition.values())) < 5:
            for record in await fetch(consumer, 9):
                by_partition[record.partition].append(record)
        # Like a restored database, which is behind the group's offset.
        batch = [*by_partition[0][2:], *by_partition[1]]
        monkeypatch.setattr(CommandProcessor, "process", fail)
        for _ in range(2):
            await handle(command_consumer, consumer, batch)
            assert "cannot be processed" in command_consumer.health.component_problems[command_consumer.name]
            batch = await fetch(consumer, 9)
        monkeypatch.undo()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await handle(command_consumer, consumer, batch)
            while await count_rows(system) < 5:
                await handle(command_consumer, consumer, await fetch(consumer, 9))
    command_consumer.disconnect()
    assert command_consumer.health.component_problems == {}


async def test_failing_partition_does_not_block_another_partition(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "RETRY_SECONDS", (0.0,))
    process = CommandProcessor.process

    async def fail_for_partition_0(
        processor: CommandProcessor, records: Sequence[Record], watermarks: dict[int, int]
    ) -> BatchResult:
        assert all(record.partition == 1 for record in records), "a bug"
        return await process(processor, records, watermarks)

    monkeypatch.setattr(CommandProcessor, "process", fail_for_partition_0)
    command_consumer = build_command_consumer(system)
    await send(system, course_commands(1), partition=0)
    async with open_consumer(system, 0, 1) as consumer:
        for number in range(1, 4):
            await send(system, course_commands(1), partition=1)
            batch: list[Record] = []
            while {record.partition for record in batch} != {0, 1}:
                batch += await fetch(consumer, 9)
            await handle(command_consumer, consumer, batch)
            assert await count_rows(system) == number
    command_consumer.disconnect()
    assert "partition 0 cannot be processed" in command_consumer.health.component_problems[command_consumer.name]


async def test_records_before_a_failing_one_are_decided(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer_module, "RETRY_SECONDS", (0.0,))
    process, bad_offset, calls = CommandProcessor.process, 7, 0

    async def fail_for_one_record(
        processor: CommandProcessor, records: Sequence[Record], watermarks: dict[int, int]
    ) -> BatchResult:
        nonlocal calls
        calls += 1
        assert all(record.offset != bad_offset for record in records), "a bug"
        return await process(processor, records, watermarks)

    command_consumer = build_command_consumer(system)
    await send(system, course_commands(12), partition=0)
    async with open_consumer(system, 0) as consumer:
        batch: list[Record] = []
        while len(batch) < 12:
            batch += await fetch(consumer, 12)
        monkeypatch.setattr(CommandProcessor, "process", fail_for_one_record)
        await handle(command_consumer, consumer, batch)
        assert await count_rows(system) == bad_offset
        assert "partition 0 cannot be processed" in command_consumer.health.component_problems[command_consumer.name]
        calls = 0
        await handle(command_consumer, consumer, batch[bad_offset:])
        assert calls == 2, "what is known to fail is not searched again"
        monkeypatch.setattr(CommandProcessor, "process", process)
        await handle(command_consumer, consumer, batch[bad_offset:])
    command_consumer.disconnect()
    assert await count_rows(system) == 12
    assert command_consumer.health.component_problems == {}


async def test_no_command_is_decided_while_handler_and_postgresql_clocks_differ(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "RETRY_SECONDS", (0.0,))
    command_consumer = build_command_consumer(system)
    settings = command_consumer.settings
    await send(system, course_commands(2), partition=0)
    async with open_consumer(system, 0) as consumer:
        batch = await fetch(consumer, 2)
        # No two clocks agree this closely.
        command_consumer.settings = settings.model_copy(update={"clock_difference_seconds_max": -1})
        with pytest.raises(ClocksDiffer):
            await handle(command_consumer, consumer, batch)
        assert await count_rows(system) == 0
        assert "clock is" in command_consumer.health.component_problems[command_consumer.name]
        metrics = command_consumer.telemetry.metrics
        assert metrics.registry.get_sample_value("moderation_clock_refusals_total") == 2

        command_consumer.settings = settings
        await handle(command_consumer, consumer, batch)
    command_consumer.disconnect()
    assert await count_rows(system) == len(batch)
    assert command_consumer.health.component_problems == {}
