"""Sends dead letters back to the commands topic once each, in order, despite crashes of Kafka, PostgreSQL or itself.

PostgreSQL decides what is redriven; the broker refuses duplicates by the stored producer id and sequence numbers. For
the reasons and consequences see deploy/docs/adr/0005-redrive-by-sequence-numbers.md.
"""

import asyncio
import base64
import contextlib
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.topics import MIB
from services.eventlog.operator_actions import OperatorActions, PendingDeadLetter, Redrive
from services.eventlog.postgres import OPERATOR, connect
from services.kafka.client_compat import ProducerIdentity, read_producer_identity, resume_producer
from services.kafka.client_options import client_options
from services.kafka.client_patches import patch_fetcher
from services.kafka.producer_closing import close_producer
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

LOGGER = logging.getLogger("console")
ACTION_HEADER = "redrive_action"
DEAD_LETTER_HEADER = "redrive_dead_letter"
DEAD_LETTER_ID_PATTERN = re.compile(rb"(\d{1,4})-(\d{1,18})")
BATCH_RECORDS_MAX = 50
REQUEST_TIMEOUT_SECONDS = 30
POLL_SECONDS = 1.0
# Upper bound of the bytes that the redrive headers and the batch add to one record.
REDRIVE_OVERHEAD_BYTES = 1_024
DEAD_LETTER_BYTES_MAX = MIB - REDRIVE_OVERHEAD_BYTES
Headers = list[tuple[str, bytes | None]]


def decode_headers(stored: bytes) -> Headers:
    """Decode the stored headers of a dead letter."""
    return [
        (base64.b64decode(name).decode(), None if value is None else base64.b64decode(value))
        for name, value in json.loads(stored)
    ]


def build_redrive_headers(action_id: UUID, pending: PendingDeadLetter) -> Headers:
    """Add the headers of this redrive to the record's own; they replace those of an earlier redrive."""
    original_headers = [
        pair for pair in decode_headers(pending.headers) if pair[0] not in (ACTION_HEADER, DEAD_LETTER_HEADER)
    ]
    return [
        *original_headers,
        (ACTION_HEADER, str(action_id).encode()),
        (DEAD_LETTER_HEADER, b"%d-%d" % (pending.shard, pending.number)),
    ]


def parse_redrive_headers(action_id: UUID, headers: Mapping[str, bytes | None]) -> tuple[int, int] | None:
    """Return the (shard, number) of the dead letter that a record redrives, None for any other record."""
    match = DEAD_LETTER_ID_PATTERN.fullmatch(headers.get(DEAD_LETTER_HEADER) or b"")
    if headers.get(ACTION_HEADER) != str(action_id).encode() or match is None:
        return None
    return int(match[1]), int(match[2])


async def allocate_producer_id(bootstrap: str, commands_topic: str, action_id: UUID) -> Redrive:
    """Allocate a producer id for an action, and read the end offsets before its first record. Raises KafkaError."""
    producer = AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)
    consumer = AIOKafkaConsumer(**client_options(bootstrap), enable_auto_commit=False)
    try:
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "allocating a producer id"):
            await producer.start()
            await consumer.start()
            identity = await read_producer_identity(producer)
            topic_partitions = [
                TopicPartition(commands_topic, partition) for partition in await producer.partitions_for(commands_topic)
            ]
            end_offsets = {
                topic_partition.partition: end
                for topic_partition, end in (await consumer.end_offsets(topic_partitions)).items()
            }
        return Redrive(action_id, commands_topic, identity.id, identity.epoch, end_offsets)
    finally:
        await close_producer(producer)
        await consumer.stop()


class Redriver:
    """Sends the dead letters of recorded redrives. Every process may run one; a lock lets only one send at a time."""

    def __init__(self, url: str, bootstrap: str, prefix: str) -> None:
        patch_fetcher()  # Commands may have header keys that are not UTF-8.
        self.url = url
        self.bootstrap = bootstrap
        self.lock_name = f"redrive {prefix}"
        self.commands_topic = full_topic_name(prefix, "commands")
        self.problem: str | None = None
        """Why pending dead letters cannot be sent; None if they can, or if none is known to be pending."""
        self._has_pending = False
        self._completed_actions: set[UUID] = set()
        self._wake_requested, self._all_sent = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Check for pending dead letters now."""
        self._wake_requested.set()

    async def wait_until_sent(self, action_id: UUID, seconds: float) -> bool:
        """Wait until an action is completely sent; return False after ``seconds``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while action_id not in self._completed_actions:
                    await self._all_sent.wait()
        return action_id in self._completed_actions

    async def run(self) -> None:
        """Send pending dead letters until cancelled; after an error retry on a new connection."""
        while True:
            try:
                async with self._open_connection() as operator_actions:
                    while True:
                        await self._send_pending(operator_actions)
                        self.problem = None
                        self._all_sent.set()
                        self._all_sent = asyncio.Event()
                        await self._wait_for_wake()
            except INFRASTRUCTURE_ERRORS as error:
                problem = describe_error(error)
                if self._has_pending and problem != self.problem:
                    LOGGER.warning("redrive delayed, retrying: %s", problem)
                self.problem = problem if self._has_pending else None
            await self._wait_for_wake()

    async def _wait_for_wake(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake_requested.wait(), POLL_SECONDS)
        self._wake_requested.clear()

    @contextlib.asynccontextmanager
    async def _open_connection(self) -> AsyncIterator[OperatorActions]:
        connection = await connect(self.url, "redrive", OPERATOR)
        try:
            yield OperatorActions(connection)
        finally:
            connection.terminate()

    async def send_pending(self) -> bool:
        """Send all pending dead letters; return False if another process is sending. Raises INFRASTRUCTURE_ERRORS."""
        async with self._open_connection() as operator_actions:
            return await self._send_pending(operator_actions)

    async def _send_pending(self, operator_actions: OperatorActions) -> bool:
        """Send on one connection; after an error the connection still has the lock and must be closed."""
        self._has_pending = bool(await operator_actions.unfinished_redrives(self._completed_actions))
        if not self._has_pending:
            return True
        if not await operator_actions.try_lock(self.lock_name):
            return False
        for redrive in await operator_actions.unfinished_redrives(self._completed_actions):
            await self._complete(operator_actions, redrive)
            self._completed_actions.add(redrive.action_id)
        await operator_actions.unlock(self.lock_name)
        return True

    async def _complete(self, operator_actions: OperatorActions, redrive: Redrive) -> None:
        await operator_actions.record_redriven(redrive.action_id, await self._find_already_sent(redrive))
        producer = AIOKafkaProducer(
            **client_options(self.bootstrap), enable_idempotence=True, acks="all", max_request_size=2 * MIB
        )
        try:
            sent_counts: Counter[TopicPartition] = Counter()
            for partition, sent_count in (await operator_actions.sent_counts(redrive.action_id)).items():
                sent_counts[TopicPartition(redrive.topic, self._target_partition(redrive, partition))] += sent_count
            resume_producer(producer, ProducerIdentity(redrive.producer_id, redrive.producer_epoch), sent_counts)
            await producer.start()
            while pending := await operator_actions.pending_dead_letters(redrive.action_id, BATCH_RECORDS_MAX):
                async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "sending dead letters"):
                    sent_records = await self._send(producer, redrive, pending)
                await operator_actions.record_redriven(redrive.action_id, sent_records)
        finally:
            await close_producer(producer)

    @staticmethod
    def _target_partition(redrive: Redrive, partition: int) -> int:
        """Return the original partition, or another one if the topic was recreated with fewer partitions."""
        return partition % len(redrive.end_offsets)

    async def _send(
        self, producer: AIOKafkaProducer, redrive: Redrive, pending: Sequence[PendingDeadLetter]
    ) -> list[tuple[int, int, int, int]]:
        """Send partitions concurrently, the records of each in order. Returns (shard, number, partition, offset)."""
        by_partition: dict[int, list[PendingDeadLetter]] = {}
        for dead_letter in pending:
            by_partition.setdefault(self._target_partition(redrive, dead_letter.partition), []).append(dead_letter)

        async def send_in_order(
            partition: int, pending_in_partition: list[PendingDeadLetter]
        ) -> list[tuple[int, int, int, int]]:
            sent_records = []
            for dead_letter in pending_in_partition:
                batch = producer.create_batch()
                headers = build_redrive_headers(redrive.action_id, dead_letter)
                batch.append(key=dead_letter.key, value=dead_letter.value, timestamp=None, headers=headers)
                metadata = await (await producer.send_batch(batch, redrive.topic, partition=partition))
                sent_records.append((dead_letter.shard, dead_letter.number, partition, metadata.offset))
            return sent_records

        sent_by_partition = await asyncio.gather(*(send_in_order(*pair) for pair in by_partition.items()))
        return [record for records in sent_by_partition for record in records]

    async def _find_already_sent(self, redrive: Redrive) -> list[tuple[int, int, int, int]]:
        """Find records of an action on the topic. Returns (shard, number, partition, offset)."""
        consumer = AIOKafkaConsumer(
            **client_options(self.bootstrap), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await consumer.start()
            topic_partitions = [TopicPartition(redrive.topic, partition) for partition in redrive.end_offsets]
            end_offsets = await consumer.end_offsets(topic_partitions)
            extended_partitions = [
                topic_partition
                for topic_partition in topic_partitions
                if end_offsets[topic_partition] != redrive.end_offsets[topic_partition.partition]
            ]
            consumer.assign(extended_partitions)
            for topic_partition in extended_partitions:
                # If the topic was recreated in the meantime, it may end earlier: read it from the beginning.
                end_before_action = redrive.end_offsets[topic_partition.partition]
                consumer.seek(
                    topic_partition, end_before_action if end_before_action <= end_offsets[topic_partition] else 0
                )
            sent_records = []
            for topic_partition in extended_partitions:
                while await consumer.position(topic_partition) < end_offsets[topic_partition]:
                    for record in (await consumer.getmany(topic_partition, timeout_ms=200)).get(topic_partition, []):
                        dead_letter_id = parse_redrive_headers(redrive.action_id, dict(record.headers))
                        if dead_letter_id is not None:
                            sent_records.append((*dead_letter_id, record.partition, record.offset))
            return sent_records
        finally:
            await consumer.stop()
