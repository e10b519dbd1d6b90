"""What a subscriber looks at beside its work: whether it reads the topic that it read before, and all of it."""

import contextlib
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.eventlog.postgres import AWAY, WRITER, connect
from services.eventlog.store import Log
from services.eventlog.topic_identity import first_records, is_another


class Beginnings:
    """The first record of each partition, held against the log once: it changes when retention removes it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: dict[TopicPartition, tuple[int, int]] = {}

    async def others(
        self, consumer: AIOKafkaConsumer, places: Collection[TopicPartition], source: int
    ) -> dict[int, int]:
        """Partitions that begin with another record than was decided there, and its offset.

        Nothing is found while PostgreSQL is away: the next look will do.
        """
        found = await first_records(consumer, places)
        new = [place for place, first in found.items() if self._known.get(place) != first]
        others: dict[int, int] = {}
        if not new:
            return others
        with contextlib.suppress(*AWAY):
            connection = await connect(self._url, "handler", WRITER)
            try:
                for place in new:
                    if await is_another(Log(connection), source, place.partition, found[place]):
                        others[place.partition] = found[place][0]
                    else:
                        self._known[place] = found[place]
            finally:
                await connection.close()
        return others


def share_anew(consumer: AIOKafkaConsumer, commands: str, known: int) -> int:
    """How many partitions the topic has; where it has others than were ``known``, the group is to share them anew.

    aiokafka leaves that to the group's leader, and a group whose members have all been started again under their names
    has none: nobody would read the partitions that were added. The names are private: a test watches them.
    """
    partitions = len(consumer.partitions_for_topic(commands) or ())
    if partitions in (0, known):
        return known
    if consumer._coordinator is not None:
        consumer._coordinator.request_rejoin()
    return partitions
