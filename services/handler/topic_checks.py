"""Background checks of the commands topic: lag, recreation, added partitions."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalStateError

from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.eventlog.topic_identity import is_recreated, read_first_records
from services.handler.topic_offsets import PartitionOffsets
from services.kafka.client_compat import request_rejoin
from services.runtime.errors import POSTGRES_ERRORS
from services.runtime.failpoints import failpoints
from services.telemetry.consumer_lag import ConsumerLag

POSITION_SECONDS_MAX = 0.5


async def sample_lag(
    lag: ConsumerLag,
    consumer: AIOKafkaConsumer,
    assigned: Collection[TopicPartition],
    offsets: Mapping[int, PartitionOffsets],
) -> bool:
    """Sample positions and offsets; return False during a rebalance, when a position is not known."""
    try:
        async with asyncio.timeout(POSITION_SECONDS_MAX):
            positions = {
                topic_partition.partition: await consumer.position(topic_partition) for topic_partition in assigned
            }
    except (IllegalStateError, TimeoutError):
        return False
    lag.sample(
        positions,
        {partition: offsets[partition].end for partition in positions},
        {partition: offsets[partition].stable_end for partition in positions},
    )
    return True


class TopicIdentityCheck:
    """Compares the first record of each partition with the log, and again once retention has removed it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._confirmed: dict[TopicPartition, tuple[int, int]] = {}

    async def find_recreated_partitions(
        self, consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition], incarnation: int
    ) -> dict[int, int]:
        """Return the first offset of each partition where the log has a different record.

        Empty while PostgreSQL is unavailable: the next check will find them.
        """
        first_by_partition = await read_first_records(consumer, topic_partitions)
        unconfirmed = [
            topic_partition
            for topic_partition, first in first_by_partition.items()
            if self._confirmed.get(topic_partition) != first
        ]
        recreated: dict[int, int] = {}
        if not unconfirmed:
            return recreated
        with contextlib.suppress(*POSTGRES_ERRORS):
            async with failpoints.around("handler.connect"):
                connection = await connect(self._url, "handler", WRITER)
            try:
                event_store = failpoints.arm(EventStore(connection), "handler.log")
                for topic_partition in unconfirmed:
                    first = first_by_partition[topic_partition]
                    if await is_recreated(event_store, incarnation, topic_partition.partition, first):
                        recreated[topic_partition.partition] = first[0]
                    else:
                        self._confirmed[topic_partition] = first
            finally:
                await connection.close()
        return recreated


def rejoin_if_partitions_added(consumer: AIOKafkaConsumer, commands_topic: str, known_count: int) -> int:
    """Return the topic's partition count; if it changed, make the group rebalance."""
    partition_count = len(consumer.partitions_for_topic(commands_topic) or ())
    if partition_count in (0, known_count):
        return known_count
    request_rejoin(consumer)
    return partition_count
