"""Watches the output topics for records not written by the relay: consumers may take them for grades.

A relay writes records and its progress in one transaction, so the producers of the progress topic are the relays.
Everything else on an output topic is foreign, whatever its headers are. Only batch headers are read. ``verify`` also
compares contents, but runs only on request.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import MIB, OUTPUT_TOPICS
from services.console.pipeline_status import ForeignRecords
from services.kafka.client_compat import BatchOrigin, fetch_batch_origins, fetch_partitions
from services.kafka.client_options import client_options
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name

REPORTED_SECONDS = 3_600
"""How long a found record is reported, and how far back a new watch starts to read."""
POLL_SECONDS = 5.0
REQUEST_SECONDS_MAX = 10
# In its first transaction a relay writes outputs before its progress.
CONFIRMATION_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Finding:
    topic_partition: TopicPartition
    batch: BatchOrigin
    found_at: float


class ForeignRecordWatch:
    """Reads the topics from an hour ago on, and then continuously."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.bootstrap = bootstrap
        self._progress_topic = full_topic_name(prefix, "progress")
        self._output_by_topic = {full_topic_name(prefix, name): name for name in OUTPUT_TOPICS}
        self._positions: dict[TopicPartition, int] = {}
        self._relays: set[int] = set()
        self._findings: list[_Finding] = []

    def found(self) -> tuple[ForeignRecords, ...]:
        """Return the foreign records by topic."""
        now = time.monotonic()
        by_output: dict[str, list[_Finding]] = {}
        for finding in self._findings:
            is_confirmed = not finding.batch.is_transactional or now - finding.found_at > CONFIRMATION_SECONDS
            if is_confirmed and self._is_foreign(finding.batch):
                by_output.setdefault(self._output_by_topic[finding.topic_partition.topic], []).append(finding)
        return tuple(
            ForeignRecords(
                output,
                sum(finding.batch.next_offset - finding.batch.base_offset for finding in findings),
                findings[-1].topic_partition.partition,
                findings[-1].batch.next_offset - 1,
            )
            for output, findings in by_output.items()
        )

    async def run(self) -> None:
        """Watch until cancelled. Raises KafkaError and OSError; findings and positions are kept."""
        consumer = AIOKafkaConsumer(**client_options(self.bootstrap), enable_auto_commit=False)
        try:
            await consumer.start()
            while True:
                await self.poll(consumer)
                await asyncio.sleep(POLL_SECONDS)
        finally:
            await consumer.stop()

    async def poll(self, consumer: AIOKafkaConsumer) -> None:
        """Read new records and forget old findings. Raises KafkaError and OSError."""
        async with kafka_timeout(REQUEST_SECONDS_MAX, "listing the output topics"):
            await self._add_new_partitions(consumer)
        while batches := await self._fetch(consumer):
            for topic_partition, origins in batches.items():
                self._positions[topic_partition] = origins[-1].next_offset
                self._take_in(topic_partition, origins)
        oldest = time.monotonic() - REPORTED_SECONDS
        self._findings = [
            finding for finding in self._findings if finding.found_at > oldest and self._is_foreign(finding.batch)
        ]

    async def _fetch(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, list[BatchOrigin]]:
        async with kafka_timeout(REQUEST_SECONDS_MAX, "reading the output topics"):
            return await fetch_batch_origins(consumer, self._positions, MIB)

    def _take_in(self, topic_partition: TopicPartition, origins: Iterable[BatchOrigin]) -> None:
        for batch in origins:
            if not batch.is_data:
                continue
            if topic_partition.topic != self._progress_topic:
                if self._is_foreign(batch):
                    self._findings.append(_Finding(topic_partition, batch, time.monotonic()))
            elif batch.is_transactional:
                self._relays.add(batch.producer_id)

    def _is_foreign(self, batch: BatchOrigin) -> bool:
        # Without a transaction a client may take any producer id.
        return not batch.is_transactional or batch.producer_id not in self._relays

    async def _add_new_partitions(self, consumer: AIOKafkaConsumer) -> None:
        """Start to read new partitions; read a recreated topic from its beginning."""
        existing = await fetch_partitions(consumer)
        names = [self._progress_topic, *self._output_by_topic]
        topic_partitions = [
            TopicPartition(name, partition) for name in names for partition in existing.get(name, frozenset())
        ]
        if not topic_partitions:
            return
        beginnings = await consumer.beginning_offsets(topic_partitions)
        ends = await consumer.end_offsets(topic_partitions)
        since = int((time.time() - REPORTED_SECONDS) * 1_000)
        unread = [topic_partition for topic_partition in topic_partitions if topic_partition not in self._positions]
        recent = (
            await consumer.offsets_for_times({topic_partition: since for topic_partition in unread}) if unread else {}
        )
        for topic_partition in topic_partitions:
            beginning, end = beginnings[topic_partition], ends[topic_partition]
            position = self._positions.get(topic_partition)
            if position is None:
                # Read the whole progress topic: an idle relay wrote to it long ago.
                found = recent[topic_partition]
                is_progress = topic_partition.topic == self._progress_topic
                position = beginning if is_progress else end if found is None else found.offset
            self._positions[topic_partition] = beginning if position > end else max(position, beginning)
