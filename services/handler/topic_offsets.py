"""Begin and end offsets of the commands topic's partitions, independent of the group's consumers."""

import contextlib
from collections.abc import Collection
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.kafka.client_options import client_options
from services.runtime.errors import KAFKA_ERRORS
from services.runtime.failpoints import failpoints


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """Offsets of a partition: its first record, its last stable offset, and its next record.

    A read_committed consumer gets no records from ``stable_end`` on: a producer's transaction is open.
    """

    beginning: int
    stable_end: int
    end: int


class TopicOffsetsReader:
    """Two consumers without a group that never fetch: a request would wait behind a fetch on the same connection."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumers: list[AIOKafkaConsumer] = []

    async def read(self, topic_partitions: Collection[TopicPartition]) -> dict[int, PartitionOffsets]:
        """Return the offsets by partition. Raises KAFKA_ERRORS."""
        async with failpoints.around("handler.read_offsets"):
            if not self._consumers:
                await self._start()
            committed, uncommitted = self._consumers
            beginnings = await committed.beginning_offsets(topic_partitions)
            stable_ends = await committed.end_offsets(topic_partitions)
            ends = await uncommitted.end_offsets(topic_partitions)
        return {
            topic_partition.partition: PartitionOffsets(
                beginnings[topic_partition], stable_ends[topic_partition], ends[topic_partition]
            )
            for topic_partition in topic_partitions
        }

    async def _start(self) -> None:
        consumers = [
            AIOKafkaConsumer(
                **client_options(self._bootstrap), enable_auto_commit=False, isolation_level=isolation_level
            )
            for isolation_level in ("read_committed", "read_uncommitted")
        ]
        try:
            for client in consumers:
                await client.start()
        except BaseException:
            await _stop(consumers)
            raise
        self._consumers = consumers

    async def stop(self) -> None:
        """Disconnect."""
        consumers, self._consumers = self._consumers, []
        await _stop(consumers)


async def _stop(consumers: Collection[AIOKafkaConsumer]) -> None:
    for client in consumers:
        with contextlib.suppress(*KAFKA_ERRORS):
            await client.stop()
