"""Whether a topic is the one whose records were decided, by the first record it holds.

A reader that stood still while a topic was made again goes on where it was, among records that are not those that
followed. What stands at the beginning tells, however much was decided of the new topic meanwhile.
"""

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.store import Log


async def first_records(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Offset and append time of the first record of each partition; a partition that holds none is left out."""
    found = await consumer.offsets_for_times(dict.fromkeys(places, 0)) if places else {}
    return {place: (first.offset, first.timestamp) for place, first in found.items() if first is not None}


async def is_another(log: Log, source: int, partition: int, first: tuple[int, int]) -> bool:
    """Whether another record was decided where the first one stands; not where none was."""
    offset, time = first
    return (await log.append_times(source, partition, offset, offset)).get(offset, time) != time
