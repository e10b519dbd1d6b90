"""Detects a recreated topic by comparing the first record of each partition with the log.

A consumer that was idle while a topic was recreated continues at its old offset, among different records. The first
record reveals that, no matter how many records of the new topic have been processed.
"""

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.store import EventStore


async def read_first_records(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Read offset and append time of the first record of each partition; skip empty partitions."""
    offsets_by_partition = await consumer.offsets_for_times(dict.fromkeys(partitions, 0)) if partitions else {}
    return {
        place: (first.offset, first.timestamp) for place, first in offsets_by_partition.items() if first is not None
    }


async def is_recreated(store: EventStore, incarnation: int, partition: int, first_record: tuple[int, int]) -> bool:
    """Return whether the log has a different record at this offset; False if it has none there."""
    offset, time = first_record
    return (await store.append_times(incarnation, partition, offset, offset)).get(offset, time) != time
