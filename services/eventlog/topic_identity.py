"""Whether a topic is the one whose records were decided, by the first record it holds.

A reader that stood still while a topic was made again goes on where it was, among records that are not those that
followed. What stands at the beginning tells, however much was decided of the new topic meanwhile.
"""

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.store import EventStore


async def read_first_records(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Offset and append time of the first record of each partition; a partition that holds none is left out."""
    offsets_by_partition = await consumer.offsets_for_times(dict.fromkeys(partitions, 0)) if partitions else {}
    return {
        place: (first.offset, first.timestamp) for place, first in offsets_by_partition.items() if first is not None
    }


async def is_recreated(store: EventStore, incarnation: int, partition: int, first_record: tuple[int, int]) -> bool:
    """Whether another record was decided where the first one stands; not where none was."""
    offset, time = first_record
    return (await store.append_times(incarnation, partition, offset, offset)).get(offset, time) != time
