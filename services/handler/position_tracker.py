"""Which records of a batch are new: a record at or below its partition's watermark has been decided.

A redelivered record changes nothing. A record that stands where another one was decided means that the topic was made
again or cut; then the partition stops until somebody says so (``python -m services.admin.accept_recreated_topic``).
"""

import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.eventlog.store import Log

LOGGER = logging.getLogger("handler")
Record = ConsumerRecord[Any, Any]


class Places:
    """Watermarks of one subscriber's partitions since they were assigned to it.

    ``stopped``: partitions of which nothing more is decided, with the reason. ``redelivered``: how many records of the
    last batch had been decided before.
    """

    def __init__(self, log: Log, source: int) -> None:
        self.log = log
        self.source = source
        self.watermarks: dict[int, int] = {}
        self.stopped: dict[int, str] = {}
        self.redelivered = 0
        self._reread: set[int] = set()

    def forget(self) -> None:
        """After an assignment, or when in doubt: watermarks and the topic are looked at again.

        A batch may be in hand meanwhile: it goes on with what it knew.
        """
        self.watermarks, self.stopped, self._reread = {}, {}, set()

    @property
    def problem(self) -> str | None:
        """What is wrong with the stopped partitions, None when there are none."""
        return "; ".join(self.stopped.values()) or None

    async def new_records(self, records: Sequence[Record], consumer: AIOKafkaConsumer) -> list[Record]:
        """The records that are to be decided, in order.

        The first batch of a partition that starts above the watermark is read again from the watermark on, once: so
        the last decided record is seen to be where it was, and what a restored log forgot is decided again. Likewise
        every later batch that does not go on where the one before ended: what lies between may have been lost on its
        way to us, or be what no reader is given (a transaction's marker).
        """
        watermarks, stopped, reread = self.watermarks, self.stopped, self._reread
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        unsure = [
            partition
            for partition, found in by_partition.items()
            if partition not in watermarks
            or (found[0].offset > watermarks[partition] + 1 and partition not in reread and partition not in stopped)
        ]
        sought: set[int] = set()
        if unsure:
            for partition, watermark in (await self.log.watermarks(self.source, unsure)).items():
                first = by_partition[partition][0]
                watermarks[partition] = watermark
                if first.offset > max(watermark, 0):
                    beginning = await self._beginning(consumer, first)
                    back_to = max(watermark, 0)
                    if watermark >= 0 and beginning > watermark + 1:
                        self._stop(partition, f"records {watermark + 1} to {beginning - 1} are gone by retention")
                        sought.add(partition)
                    elif max(back_to, beginning) < first.offset:
                        consumer.seek(TopicPartition(first.topic, partition), max(back_to, beginning))
                        sought.add(partition)
        reread |= sought
        self.redelivered = 0
        fresh: list[Record] = []
        for partition, found in by_partition.items():
            if partition in sought or partition in stopped:
                continue
            watermark = watermarks[partition]
            if found[0].offset <= watermark and not await self._is_redelivery(partition, found, watermark):
                continue
            new = [record for record in found if record.offset > watermark]
            self.redelivered += len(found) - len(new)
            if new:
                reread.discard(partition)
            fresh.extend(new)
        return fresh

    def decided(self, records: Sequence[Record]) -> None:
        """Move the watermarks: these records are in the log."""
        for record in records:
            self.watermarks[record.partition] = record.offset

    def offsets(self, records: Sequence[Record]) -> dict[TopicPartition, int]:
        """Where to read on in the partitions of these records, but for those that are stopped."""
        decided = {
            partition: self.watermarks.get(partition, -1)
            for partition in {record.partition for record in records}
            if partition not in self.stopped
        }
        topic = records[0].topic
        return {TopicPartition(topic, partition): offset + 1 for partition, offset in decided.items() if offset >= 0}

    def is_another(self, partition: int, offset: int) -> None:
        """Somebody has found another record where this one was decided."""
        if partition not in self.stopped:
            self._stop(partition, f"record {offset} is not the one that was decided there")

    async def _is_redelivery(self, partition: int, found: Sequence[Record], watermark: int) -> bool:
        again = {record.offset: record.timestamp for record in found if record.offset <= watermark}
        decided = await self.log.append_times(self.source, partition, min(again), max(again))
        strangers = [offset for offset, time in again.items() if decided.get(offset) != time]
        if strangers:
            self.is_another(partition, strangers[0])
        return not strangers

    @staticmethod
    async def _beginning(consumer: AIOKafkaConsumer, record: Record) -> int:
        topic_partition = TopicPartition(record.topic, record.partition)
        return int((await consumer.beginning_offsets([topic_partition]))[topic_partition])

    def _stop(self, partition: int, why: str) -> None:
        """Decide nothing more of this partition: passing over a command is worse than waiting for an operator."""
        self.stopped[partition] = (
            f"partition {partition} of the commands topic is stopped: {why}. The topic was made again or cut, or its"
            " retention passed what was decided. If that is right, run: python -m services.admin.accept_recreated_topic"
            ' "why", and restart the handler'
        )
        LOGGER.error("%s", self.stopped[partition], extra={"partition": partition})
