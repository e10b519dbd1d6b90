"""Sends records in Kafka transactions, each to the partition of its shard."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from schemas.topics import MIB
from services.kafka.client_options import client_options
from services.kafka.records import OutgoingRecord
from services.kafka.timeouts import kafka_timeout

TRANSACTION_TIMEOUT_MS = 15_000
COMMIT_SECONDS_MAX = 20


def create_transactional_producer(bootstrap: str, transactional_id: str) -> AIOKafkaProducer:
    """Create a producer whose start fences any other with that id. After an error it must be closed and replaced."""
    return AIOKafkaProducer(
        **client_options(bootstrap),
        transactional_id=transactional_id,
        acks="all",
        enable_idempotence=True,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        max_batch_size=int(3.5 * MIB),
        max_request_size=5 * MIB,
    )


async def send_transaction(
    producer: AIOKafkaProducer,
    records: Sequence[OutgoingRecord],
    full_name: Callable[[str], str],
    extra_record: tuple[str, int, bytes, bytes] | None = None,
    before_commit: Callable[[Sequence[RecordMetadata]], None] = lambda placed: None,
) -> None:
    """Send records in one transaction, all or nothing.

    ``full_name`` maps an output to its topic; ``extra_record`` is the full topic, partition, key and value of one more
    record. ``before_commit`` receives the offsets of all batches; if it raises, nothing is committed.

    The function awaits all acknowledgements before the commit: a batch that the broker refuses only fails its own
    future, and aiokafka would commit the others. After any error the producer must be closed. An unknown outcome after
    COMMIT_SECONDS_MAX counts as a failure: by then the broker has aborted the transaction.

    Raises:
        KafkaError: the transaction failed, or its outcome is unknown.
    """
    async with kafka_timeout(COMMIT_SECONDS_MAX, "a transaction"):
        await _send_transaction(producer, records, full_name, extra_record, before_commit)


async def _send_transaction(
    producer: AIOKafkaProducer,
    records: Sequence[OutgoingRecord],
    full_name: Callable[[str], str],
    extra_record: tuple[str, int, bytes, bytes] | None,
    before_commit: Callable[[Sequence[RecordMetadata]], None],
) -> None:
    await producer.begin_transaction()
    acknowledgements = []
    for (topic_name, shard), batch in _build_batches(producer, records):
        acknowledgements.append(await producer.send_batch(batch, full_name(topic_name), partition=shard))
    if extra_record is not None:
        topic, partition, key, value = extra_record
        acknowledgements.append(await producer.send(topic, value, key=key, partition=partition))
    before_commit(await asyncio.gather(*acknowledgements))
    await producer.commit_transaction()


def _build_batches(producer: AIOKafkaProducer, records: Sequence[OutgoingRecord]) -> list[tuple[tuple[str, int], Any]]:
    """Build record batches by topic and partition, in order; start another batch when one is full."""
    now = int(time.time() * 1000)
    open_batches: dict[tuple[str, int], Any] = {}
    full_batches: list[tuple[tuple[str, int], Any]] = []
    for record in records:
        topic_and_shard = (record.topic, record.shard)
        batch = open_batches.get(topic_and_shard)
        if batch is None or not _append(batch, record, now):
            if batch is not None:
                full_batches.append((topic_and_shard, batch))
            batch = open_batches[topic_and_shard] = producer.create_batch()
            if not _append(batch, record, now):
                raise ValueError(f"a record for {record.topic} exceeds the maximum batch size")
    return [*full_batches, *open_batches.items()]


def _append(batch: Any, record: OutgoingRecord, now: int) -> bool:
    appended = batch.append(timestamp=now, key=record.key, value=record.value, headers=record.headers)
    return appended is not None
