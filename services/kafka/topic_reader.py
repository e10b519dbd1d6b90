"""Reads topics as a consumer that sees only committed records."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from services.kafka.client_options import client_options

READ_SECONDS_MAX = 30
POLL_SECONDS = 0.01
TAIL_OFFSETS = 64

Record: TypeAlias = ConsumerRecord[Any, Any]


@asynccontextmanager
async def open_reader(
    bootstrap: str, topic_partitions: Sequence[TopicPartition], isolation_level: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer without a group, positioned at the beginning of the partitions."""
    consumer = AIOKafkaConsumer(
        **client_options(bootstrap),
        isolation_level=isolation_level,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    try:
        await consumer.start()
        consumer.assign(topic_partitions)
        yield consumer
    finally:
        await consumer.stop()


async def read_until(
    consumer: AIOKafkaConsumer, end_offsets: Mapping[TopicPartition, int]
) -> AsyncIterator[tuple[TopicPartition, list[Record]]]:
    """Read the committed records of the partitions from the consumer's position up to the end offsets.

    Raises:
        KafkaTimeoutError: an end offset was not reached, and no position moved for READ_SECONDS_MAX.
    """
    positions = {topic_partition: await consumer.position(topic_partition) for topic_partition in end_offsets}
    deadline = time.monotonic() + READ_SECONDS_MAX
    while unfinished := [
        topic_partition
        for topic_partition, end_offset in end_offsets.items()
        if positions[topic_partition] < end_offset
    ]:
        if time.monotonic() > deadline:
            topics = ", ".join(sorted({topic_partition.topic for topic_partition in unfinished}))
            raise KafkaTimeoutError(f"{topics} could not be read to the end: no new record for {READ_SECONDS_MAX} s")
        for topic_partition, records in (await consumer.getmany(*unfinished, timeout_ms=200)).items():
            yield topic_partition, records
        # Aborted records move the position without being returned.
        new_positions = {topic_partition: await consumer.position(topic_partition) for topic_partition in end_offsets}
        if new_positions != positions:
            positions, deadline = new_positions, time.monotonic() + READ_SECONDS_MAX


async def read_to_end(bootstrap: str, topic_partitions: Sequence[TopicPartition]) -> AsyncIterator[list[Record]]:
    """Read the committed records of the partitions from their beginning to their current end, some at a time.

    Raises:
        KafkaTimeoutError: see :func:`read_until`.
    """
    async with open_reader(bootstrap, topic_partitions) as consumer:
        async for _, records in read_until(consumer, await consumer.end_offsets(topic_partitions)):
            yield records


async def wait_until_committed(bootstrap: str, topic_partitions: Sequence[TopicPartition]) -> None:
    """Wait until every record that the partitions hold now is committed or aborted, as readers see it.

    Kafka acknowledges a commit before it writes the markers, so readers see the records some milliseconds later.

    Raises:
        KafkaTimeoutError: a transaction stayed open for READ_SECONDS_MAX.
    """
    async with open_reader(bootstrap, topic_partitions, "read_uncommitted") as uncommitted_reader:
        written_ends = await uncommitted_reader.end_offsets(topic_partitions)
    deadline = time.monotonic() + READ_SECONDS_MAX
    async with open_reader(bootstrap, topic_partitions) as consumer:
        while any(
            readable_end < written_ends[topic_partition]
            for topic_partition, readable_end in (await consumer.end_offsets(topic_partitions)).items()
        ):
            if time.monotonic() > deadline:
                topics = ", ".join(sorted({topic_partition.topic for topic_partition in topic_partitions}))
                raise KafkaTimeoutError(f"a transaction on {topics} has been open for {READ_SECONDS_MAX} s")
            await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class LastRecord:
    """The last wanted record of a partition, if any; ``never_truncated``: retention has not removed any record."""

    record: Record | None
    never_truncated: bool


async def read_last_records(
    bootstrap: str, topic_partitions: Sequence[TopicPartition], is_wanted: Callable[[Record], bool]
) -> dict[TopicPartition, LastRecord]:
    """Read the last wanted record of each partition, backwards from the end in growing windows.

    Raises:
        KafkaTimeoutError: see :func:`read_until`.
    """
    async with open_reader(bootstrap, topic_partitions) as consumer:
        beginning_offsets, end_offsets = (
            await consumer.beginning_offsets(topic_partitions),
            await consumer.end_offsets(topic_partitions),
        )
        last_by_partition: dict[TopicPartition, LastRecord] = {}
        remaining, window = set(topic_partitions), TAIL_OFFSETS
        while remaining:
            start_offsets = {
                topic_partition: max(beginning_offsets[topic_partition], end_offsets[topic_partition] - window)
                for topic_partition in remaining
            }
            for topic_partition, start_offset in start_offsets.items():
                consumer.seek(topic_partition, start_offset)
            last_in_window: dict[TopicPartition, Record] = {}
            async for topic_partition, records in read_until(
                consumer, {topic_partition: end_offsets[topic_partition] for topic_partition in remaining}
            ):
                for record in filter(is_wanted, records):
                    last_in_window[topic_partition] = record
            for topic_partition, start_offset in start_offsets.items():
                if topic_partition in last_in_window or start_offset == beginning_offsets[topic_partition]:
                    last_by_partition[topic_partition] = LastRecord(
                        last_in_window.get(topic_partition), never_truncated=beginning_offsets[topic_partition] == 0
                    )
            remaining -= set(last_by_partition)
            window *= 16
        return last_by_partition
