"""Remembers which offsets after the last processed record of a partition are transaction markers.

Consumers never get markers. Once retention has removed them, nothing tells them from lost records.
"""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer

from services.handler.topic_offsets import PartitionOffsets
from services.runtime.errors import KAFKA_CLIENT_ERRORS

POSITION_SECONDS_MAX = 0.5


class PassedMarkers:
    """The offsets up to which a consumer's partitions have only markers after their last processed record."""

    def __init__(self) -> None:
        # By partition: the watermark, and the position of the consumer when it had processed all that it had read.
        self._idle: dict[int, tuple[int, int]] = {}
        # What was noted before the offsets that it is compared with were asked for.
        self._to_confirm: dict[int, tuple[int, int]] = {}
        self._ends: dict[int, tuple[int, int]] = {}

    def end(self, partition: int, watermark: int) -> int:
        """Return the offset before which nothing was lost after the last processed record, 0 if none is known.

        What was passed after a later record than ``watermark`` does not count: a log that was restored to an earlier
        state lacks the records in between.
        """
        passed_watermark, end = self._ends.get(partition, (watermark, 0))
        return end if passed_watermark <= watermark else 0

    async def note_positions(self, consumer: AIOKafkaConsumer, topic: str, watermarks: Mapping[int, int]) -> None:
        """Note the positions of partitions while no record is in progress; ``watermarks``: of those that are known."""
        try:
            async with asyncio.timeout(POSITION_SECONDS_MAX):
                for place in consumer.assignment():
                    if place.topic == topic and place.partition in watermarks:
                        watermark = watermarks[place.partition]
                        self._idle[place.partition] = watermark, await consumer.position(place)
        except (*KAFKA_CLIENT_ERRORS, TimeoutError):
            return  # A rebalance: the next poll notes the partitions that are still assigned.

    def begin_check(self) -> None:
        """Leave what was noted so far to ``confirm``; call it before the offsets are asked for.

        A position that is noted later may be one that was moved past records that retention removed after the answer.
        """
        self._to_confirm, self._idle = self._idle, {}

    def confirm(self, offsets: Mapping[int, PartitionOffsets]) -> None:
        """Take positions that were reached by reading: the partition still begins before them.

        A position below the beginning is moved there without reading what is in between.
        """
        for partition, (watermark, position) in self._to_confirm.items():
            if partition in offsets and offsets[partition].beginning <= watermark + 1 < position:
                self._ends[partition] = watermark, position
        self._to_confirm.clear()
