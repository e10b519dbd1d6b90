"""Reads and writes the relay's progress topic: the last record of each lane."""

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition

from schemas.topics import count_lanes
from services.kafka.client_options import client_options
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.producer_closing import close_producer
from services.kafka.relay_progress import RelayProgress, list_lane_shards, progress_key
from services.kafka.topic_reader import read_last_records


async def read_lanes(bootstrap: str, full_name: str, lanes: Sequence[int]) -> dict[int, RelayProgress]:
    """Read the progress of these lanes from the topic; those whose partition holds no record are left out.

    Raises:
        KafkaError: Kafka does not answer.
    """
    last = await read_last_records(
        bootstrap,
        [TopicPartition(full_name, lane) for lane in lanes],
        lambda record: record.key == progress_key(record.partition) and record.value is not None,
    )
    return {
        topic_partition.partition: RelayProgress.decode(found.record.value)
        for topic_partition, found in last.items()
        if found.record is not None and found.record.value is not None
    }


async def read_progress(bootstrap: str, full_name: str, shard_count: int = SHARD_COUNT) -> RelayProgress | None:
    """Read the progress of all lanes and merge it; None if the record of one lane is missing.

    Raises:
        KafkaError: Kafka does not answer.
    """
    lanes = range(count_lanes(shard_count))
    stored = await read_lanes(bootstrap, full_name, lanes)
    return RelayProgress.merge(stored[lane] for lane in lanes) if len(stored) == len(lanes) else None


async def complete_progress(bootstrap: str, full_name: str, initial_progress: RelayProgress) -> None:
    """Write the initial progress of lanes without a record, unless the topic belongs to another log.

    Nor if a lane has published: the others have lost their progress then, and the relay names the remedies.

    Raises:
        KafkaError: Kafka does not answer.
    """
    lanes = range(count_lanes(len(initial_progress.shards)))
    stored = await read_lanes(bootstrap, full_name, lanes)
    missing = [lane for lane in lanes if lane not in stored]
    belongs_here = all(progress.installation == initial_progress.installation for progress in stored.values())
    if missing and belongs_here and not any(progress.has_published for progress in stored.values()):
        await write_progress(bootstrap, full_name, initial_progress, missing)


async def write_progress(
    bootstrap: str, full_name: str, progress: RelayProgress, lanes: Sequence[int] | None = None
) -> None:
    """Write the progress of these lanes (None: all) to the topic; no relay may work on them."""
    shard_count = len(progress.shards)
    producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)
    try:
        await producer.start()
        for lane in range(count_lanes(shard_count)) if lanes is None else lanes:
            await producer.send_and_wait(
                full_name,
                progress.restrict(list_lane_shards(lane, shard_count)).encode(),
                key=progress_key(lane),
                partition=lane,
            )
    finally:
        await close_producer(producer)
