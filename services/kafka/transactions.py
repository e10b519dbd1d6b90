"""Sending records in Kafka transactions, to the partition of their shard."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from schemas.topics import MIB
from services.kafka.client_compat import close_producer_now
from services.kafka.records import OutgoingRecord
from services.kafka.timeouts import kafka_timeout

TRANSACTION_TIMEOUT_MS = 15_000
COMMIT_SECONDS_MAX = 20
CLOSE_SECONDS_MAX = 5


def create_transactional_producer(bootstrap: str, transactional_id: str) -> AIOKafkaProducer:
    """A producer that fences, when it starts, whoever has that id. After any error it is not to be used on."""
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap,
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
    extra_record: tuple[str, bytes, bytes] | None = None,
    before_commit: Callable[[Sequence[RecordMetadata]], None] = lambda placed: None,
) -> None:
    """One transaction; ``full_name``: of the topic of a message; ``also``: topic, key and value of one record more.

    ``look`` sees where the batches stand before they are committed; what it raises keeps them from being so.

    A batch that the broker refuses fails its own future and nothing else, and aiokafka would commit the others: so
    every answer is awaited first. When anything fails nothing is committed, and the producer is not to be used on. An
    end that is not known after the transaction's time is one that failed: the broker has aborted it.

    Raises:
        KafkaError: the transaction failed, or nobody knows.
    """
    async with kafka_timeout(COMMIT_SECONDS_MAX, "a transaction"):
        await _send_transaction(producer, records, full_name, extra_record, before_commit)


async def _send_transaction(
    producer: AIOKafkaProducer,
    records: Sequence[OutgoingRecord],
    full_name: Callable[[str], str],
    extra_record: tuple[str, bytes, bytes] | None,
    before_commit: Callable[[Sequence[RecordMetadata]], None],
) -> None:
    await producer.begin_transaction()
    acknowledgements = []
    for (topic_name, shard), batch in _build_batches(producer, records):
        acknowledgements.append(await producer.send_batch(batch, full_name(topic_name), partition=shard))
    if extra_record is not None:
        topic, key, value = extra_record
        acknowledgements.append(await producer.send(topic, value, key=key, partition=0))
    before_commit(await asyncio.gather(*acknowledgements))
    await producer.commit_transaction()


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Close, without waiting for a broker that does not answer: what is open is aborted by whoever starts next."""
    try:
        await asyncio.wait_for(producer.stop(), CLOSE_SECONDS_MAX)
    except TimeoutError:
        await close_producer_now(producer)


def _build_batches(producer: AIOKafkaProducer, records: Sequence[OutgoingRecord]) -> list[tuple[tuple[str, int], Any]]:
    """Record batches by topic and partition, in order; a full one is followed by the next."""
    now = int(time.time() * 1000)
    open_batches: dict[tuple[str, int], Any] = {}
    full_batches: list[tuple[tuple[str, int], Any]] = []
    for record in records:
        topic_and_shard = (record.topic, record.shard)
        batch = open_batches.get(topic_and_shard)
        fields = {"key": record.key, "value": record.value, "timestamp": now, "headers": record.headers}
        if batch is None or batch.append(**fields) is None:
            if batch is not None:
                full_batches.append((topic_and_shard, batch))
            batch = open_batches[topic_and_shard] = producer.create_batch()
            if batch.append(**fields) is None:
                raise ValueError(f"a record for {record.topic} is larger than a batch may be")
    return [*full_batches, *open_batches.items()]
