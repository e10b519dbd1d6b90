"""Selects the records of a batch that are still to be processed.

A partition whose topic was recreated, or whose retention passed the watermark, stops until an operator accepts that
(``moderated-grading admin accept-recreated-topic``).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.eventlog.store import EventStore
from services.handler.passed_markers import PassedMarkers
from services.handler.position_checks import find_removed_offsets, find_replaced_offset, has_gap, is_new
from services.kafka.partitioning import group_by_partition
from services.kafka.timeouts import OFFSETS_SECONDS_MAX, kafka_timeout

LOGGER = logging.getLogger("handler")
Record = ConsumerRecord[Any, Any]


@dataclass(slots=True)
class Positions:
    """The state of a consumer's partitions since they were assigned.

    ``watermarks``: the highest processed offset, -1 for none. ``stopped``: why a partition is no longer processed.
    ``rewound``: partitions that were read again from their watermark and have had no new record since.
    """

    watermarks: dict[int, int] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    rewound: set[int] = field(default_factory=set)


class PositionTracker:
    """The watermarks of one consumer's partitions. ``redelivered_count``: processed records in the last batch."""

    def __init__(self, event_store: EventStore, incarnation: int, passed_markers: PassedMarkers | None = None) -> None:
        self.event_store = event_store
        self.incarnation = incarnation
        self.redelivered_count = 0
        self._passed_markers = passed_markers or PassedMarkers()
        self._positions = Positions()

    def reset(self) -> None:
        """Forget the positions after an assignment or a lost fetch; a batch in progress keeps those it began with."""
        self._positions = Positions()

    @property
    def watermarks(self) -> Mapping[int, int]:
        """The highest processed offset of each partition that had records since the last reset, as far as known."""
        return self._positions.watermarks

    @property
    def known_watermarks(self) -> Mapping[int, int]:
        """The watermarks of the partitions that are processed; all that was read of them is, between two batches."""
        stopped = self._positions.stopped
        return {partition: last for partition, last in self.watermarks.items() if partition not in stopped}

    @property
    def stopped(self) -> Mapping[int, str]:
        """Partitions that are no longer processed, with the reason."""
        return self._positions.stopped

    @property
    def problem(self) -> str | None:
        """The description of the stopped partitions, None if there are none."""
        return "; ".join(self.stopped.values()) or None

    async def filter_new(
        self, records: Sequence[Record], consumer: AIOKafkaConsumer
    ) -> tuple[list[Record], dict[int, int]]:
        """Return the records to process, in order, and the watermark of each of their partitions.

        They are the records above the watermarks of partitions without a problem.

        A partition that starts above its watermark, or has a gap, is read again once, from the watermark on. So the
        last processed record is checked, lost records are fetched again, and a restored database processes again the
        records that it lost.
        """
        positions = self._positions
        by_partition = group_by_partition(records)
        skipped = await self._verify_beginnings(positions, by_partition, consumer)
        self.redelivered_count = 0
        all_new_records: list[Record] = []
        watermarks: dict[int, int] = {}
        for partition, partition_records in by_partition.items():
            if partition in skipped or partition in positions.stopped:
                continue
            watermark = positions.watermarks[partition]
            new_records = [record for record in partition_records if is_new(record.offset, watermark)]
            redelivered_records = [record for record in partition_records if not is_new(record.offset, watermark)]
            if redelivered_records:
                append_times = await self.event_store.append_times(
                    self.incarnation, partition, redelivered_records[0].offset, redelivered_records[-1].offset
                )
                replaced_offset = find_replaced_offset(redelivered_records, append_times)
                if replaced_offset is not None:
                    self.stop_recreated(partition, replaced_offset)
                    continue
            self.redelivered_count += len(redelivered_records)
            if new_records:
                positions.rewound.discard(partition)
                watermarks[partition] = watermark
            all_new_records.extend(new_records)
        return all_new_records, watermarks

    def advance(self, records: Sequence[Record]) -> None:
        """Move the watermarks past records that have been processed."""
        for record in records:
            self._positions.watermarks[record.partition] = record.offset

    def offsets_to_commit(self, records: Sequence[Record]) -> dict[TopicPartition, int]:
        """Return the next offset of each partition of these records, without stopped partitions."""
        topic = records[0].topic
        offsets = {}
        for partition in {record.partition for record in records}:
            watermark = self._positions.watermarks.get(partition, -1)
            if watermark >= 0 and partition not in self.stopped:
                offsets[TopicPartition(topic, partition)] = watermark + 1
        return offsets

    def stop_recreated(self, partition: int, offset: int) -> None:
        """Stop a partition whose record at an offset is not the one that was processed there."""
        if partition not in self.stopped:
            self._stop(partition, f"record {offset} is not the one that was processed there")

    async def _verify_beginnings(
        self, positions: Positions, by_partition: Mapping[int, Sequence[Record]], consumer: AIOKafkaConsumer
    ) -> set[int]:
        """Read the watermarks of partitions that are new or have a gap; return those that are rewound or stopped."""
        unverified = [
            partition
            for partition, partition_records in by_partition.items()
            if _needs_verification(positions, partition, partition_records[0].offset)
        ]
        if not unverified:
            return set()
        skipped: set[int] = set()
        watermarks = await self.event_store.watermarks(self.incarnation, unverified)
        for partition, watermark in watermarks.items():
            positions.watermarks[partition] = watermark
            first_record = by_partition[partition][0]
            if first_record.offset <= max(watermark, 0):
                continue
            topic_partition = TopicPartition(first_record.topic, partition)
            async with kafka_timeout(OFFSETS_SECONDS_MAX, "reading the beginning of a partition"):
                beginning_offset = (await consumer.beginning_offsets([topic_partition]))[topic_partition]
            last_known = max(watermark, self._passed_markers.end(partition, watermark) - 1)
            removed = find_removed_offsets(last_known, beginning_offset)
            resume_offset = max(watermark, 0, beginning_offset)
            if removed:
                self._stop(partition, describe_removed(removed))
                skipped.add(partition)
            elif resume_offset < first_record.offset:
                consumer.seek(topic_partition, resume_offset)
                skipped.add(partition)
        positions.rewound |= skipped
        return skipped

    def _stop(self, partition: int, reason: str) -> None:
        """Stop a partition: waiting for an operator is better than skipping a command."""
        self._positions.stopped[partition] = describe_stop(partition, reason)
        LOGGER.error("%s", self.stopped[partition], extra={"partition": partition})


def describe_stop(partition: int, reason: str) -> str:
    """Describe why a partition is stopped, and the command to run."""
    return (
        f"partition {partition} of the commands topic is stopped: {reason}. The topic was recreated or truncated,"
        " or its retention passed the last processed record; nothing more of the partition is processed. To accept"
        ' that, stop all handlers, run moderated-grading admin accept-recreated-topic "why", and start them'
    )


def describe_removed(removed: range) -> str:
    """Name the offsets that were lost."""
    return (
        f"records {removed[0]} to {removed[-1]} were removed by retention, unprocessed (if a producer sends commands in"
        " transactions, they may have been the markers of one, which are no commands)"
    )


def _needs_verification(positions: Positions, partition: int, first_offset: int) -> bool:
    watermark = positions.watermarks.get(partition)
    if watermark is None:
        return True
    is_rewound_or_stopped = partition in positions.rewound or partition in positions.stopped
    return has_gap(first_offset, watermark) and not is_rewound_or_stopped
