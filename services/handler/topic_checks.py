"""What a subscriber looks at beside its work: whether it reads the topic that it read before, and all of it."""

import contextlib
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.eventlog.topic_identity import is_recreated, read_first_records
from services.kafka.client_compat import request_rejoin
from services.runtime.errors import POSTGRES_ERRORS


class TopicIdentityCheck:
    """The first record of each partition, held against the log once: it changes when retention removes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._confirmed: dict[TopicPartition, tuple[int, int]] = {}

    async def find_recreated_partitions(
        self, consumer: AIOKafkaConsumer, topic_partitions: Collection[TopicPartition], incarnation: int
    ) -> dict[int, int]:
        """Partitions that begin with another record than was decided there, and its offset.

        Nothing is found while PostgreSQL is away: the next look will do.
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
            connection = await connect(self._url, "handler", WRITER)
            try:
                for topic_partition in unconfirmed:
                    if await is_recreated(
                        EventStore(connection),
                        incarnation,
                        topic_partition.partition,
                        first_by_partition[topic_partition],
                    ):
                        recreated[topic_partition.partition] = first_by_partition[topic_partition][0]
                    else:
                        self._confirmed[topic_partition] = first_by_partition[topic_partition]
            finally:
                await connection.close()
        return recreated


def rejoin_if_partitions_added(consumer: AIOKafkaConsumer, commands_topic: str, known_count: int) -> int:
    """How many partitions the topic has; where it has others than were ``known``, the group is to share them anew."""
    partition_count = len(consumer.partitions_for_topic(commands_topic) or ())
    if partition_count in (0, known_count):
        return known_count
    request_rejoin(consumer)
    return partition_count
