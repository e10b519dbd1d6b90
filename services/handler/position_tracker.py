"""Which records of a batch are new: a record at or below its partition's watermark has been decided.

A redelivered record changes nothing. A record that stands where another one was decided means that the topic was made
again or cut; then the partition stops until somebody says so (``moderated-grading admin accept-recreated-topic``).
"""

import logging
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.eventlog.store import EventStore

LOGGER = logging.getLogger("handler")
Record = ConsumerRecord[Any, Any]


class PositionTracker:
    """Watermarks of one subscriber's partitions since they were assigned to it.

    ``stopped``: partitions of which nothing more is decided, with the reason. ``redelivered``: how many records of the
    last batch had been decided before.
    """

    def __init__(self, event_store: EventStore, incarnation: int) -> None:
        self.event_store = event_store
        self.incarnation = incarnation
        self.watermarks: dict[int, int] = {}
        self.stopped: dict[int, str] = {}
        self.redelivered_count = 0
        self._rewound_once: set[int] = set()

    def reset(self) -> None:
        """After an assignment, or when in doubt: watermarks and the topic are looked at again.

        A batch may be in hand meanwhile: it goes on with what it knew.
        """
        self.watermarks, self.stopped, self._rewound_once = {}, {}, set()

    @property
    def problem(self) -> str | None:
        """What is wrong with the stopped partitions, None when there are none."""
        return "; ".join(self.stopped.values()) or None

    async def filter_new(self, records: Sequence[Record], consumer: AIOKafkaConsumer) -> list[Record]:
        """The records that are to be decided, in order.

        The first batch of a partition that starts above the watermark is read again from the watermark on, once: so
        the last decided record is seen to be where it was, and what a restored log forgot is decided again. Likewise
        every later batch that does not go on where the one before ended: what lies between may have been lost on its
        way to us, or be what no reader is given (a transaction's marker).
        """
        watermarks, stopped, rewound_once = self.watermarks, self.stopped, self._rewound_once
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        unverified = [
            partition
            for partition, partition_records in by_partition.items()
            if partition not in watermarks
            or (
                partition_records[0].offset > watermarks[partition] + 1
                and partition not in rewound_once
                and partition not in stopped
            )
        ]
        rewound: set[int] = set()
        if unverified:
            for partition, watermark in (await self.event_store.watermarks(self.incarnation, unverified)).items():
                first_record = by_partition[partition][0]
                watermarks[partition] = watermark
                if first_record.offset > max(watermark, 0):
                    beginning_offset = await self._get_beginning_offset(consumer, first_record)
                    resume_offset = max(watermark, 0)
                    if watermark >= 0 and beginning_offset > watermark + 1:
                        self._stop(
                            partition, f"records {watermark + 1} to {beginning_offset - 1} are gone by retention"
                        )
                        rewound.add(partition)
                    elif max(resume_offset, beginning_offset) < first_record.offset:
                        consumer.seek(
                            TopicPartition(first_record.topic, partition), max(resume_offset, beginning_offset)
                        )
                        rewound.add(partition)
        rewound_once |= rewound
        self.redelivered_count = 0
        new_records: list[Record] = []
        for partition, partition_records in by_partition.items():
            if partition in rewound or partition in stopped:
                continue
            watermark = watermarks[partition]
            if partition_records[0].offset <= watermark and not await self._is_redelivery(
                partition, partition_records, watermark
            ):
                continue
            undecided = [record for record in partition_records if record.offset > watermark]
            self.redelivered_count += len(partition_records) - len(undecided)
            if undecided:
                rewound_once.discard(partition)
            new_records.extend(undecided)
        return new_records

    def advance(self, records: Sequence[Record]) -> None:
        """Move the watermarks: these records are in the log."""
        for record in records:
            self.watermarks[record.partition] = record.offset

    def offsets_to_commit(self, records: Sequence[Record]) -> dict[TopicPartition, int]:
        """Where to read on in the partitions of these records, but for those that are stopped."""
        decided_offsets = {
            partition: self.watermarks.get(partition, -1)
            for partition in {record.partition for record in records}
            if partition not in self.stopped
        }
        topic = records[0].topic
        return {
            TopicPartition(topic, partition): offset + 1 for partition, offset in decided_offsets.items() if offset >= 0
        }

    def stop_recreated(self, partition: int, offset: int) -> None:
        """Somebody has found another record where this one was decided."""
        if partition not in self.stopped:
            self._stop(partition, f"record {offset} is not the one that was decided there")

    async def _is_redelivery(self, partition: int, partition_records: Sequence[Record], watermark: int) -> bool:
        redelivered_times = {
            record.offset: record.timestamp for record in partition_records if record.offset <= watermark
        }
        decided_times = await self.event_store.append_times(
            self.incarnation, partition, min(redelivered_times), max(redelivered_times)
        )
        mismatched_offsets = [offset for offset, time in redelivered_times.items() if decided_times.get(offset) != time]
        if mismatched_offsets:
            self.stop_recreated(partition, mismatched_offsets[0])
        return not mismatched_offsets

    @staticmethod
    async def _get_beginning_offset(consumer: AIOKafkaConsumer, record: Record) -> int:
        topic_partition = TopicPartition(record.topic, record.partition)
        return int((await consumer.beginning_offsets([topic_partition]))[topic_partition])

    def _stop(self, partition: int, reason: str) -> None:
        """Decide nothing more of this partition: passing over a command is worse than waiting for an operator."""
        self.stopped[partition] = (
            f"partition {partition} of the commands topic is stopped: {reason}. The topic was made again or cut, or its"
            " retention passed what was decided. If that is right, run: moderated-grading admin accept-recreated-topic"
            ' "why", and restart the handler'
        )
        LOGGER.error("%s", self.stopped[partition], extra={"partition": partition})
