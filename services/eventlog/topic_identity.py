"""Detect a recreated topic: compare the first record of each partition with the log.

A consumer that was idle while a topic was recreated continues at its old offset, among other records. The first record
reveals that, however many records of the new topic were processed meanwhile.
"""

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.store import EventStore


async def read_first_records(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Read offset and append time of the first record of each partition; skips empty partitions."""
    offsets_by_partition = await consumer.offsets_for_times(dict.fromkeys(partitions, 0)) if partitions else {}
    return {
        place: (first.offset, first.timestamp) for place, first in offsets_by_partition.items() if first is not None
    }


async def is_recreated(store: EventStore, incarnation: int, partition: int, first_record: tuple[int, int]) -> bool:
    """Return whether the log holds another record at this offset; False if it holds none there."""
    offset, time = first_record
    return (await store.append_times(incarnation, partition, offset, offset)).get(offset, time) != time
