"""Sending records in Kafka transactions, to the partition of their shard."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from services.outputs.records import Message
from services.topics import MIB

TRANSACTION_TIMEOUT_MS = 15_000


def transactional_producer(bootstrap: str, transactional_id: str) -> AIOKafkaProducer:
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


async def send(producer: AIOKafkaProducer, messages: Sequence[Message], full_name: Callable[[str], str]) -> None:
    """Send within the open transaction; ``full_name``: of the topic of a message."""
    for (name, shard), batch in _batches(producer, messages):
        await producer.send_batch(batch, full_name(name), partition=shard)


def _batches(producer: AIOKafkaProducer, messages: Sequence[Message]) -> list[tuple[tuple[str, int], Any]]:
    """Record batches by topic and partition, in order; a full one is followed by the next."""
    now = int(time.time() * 1000)
    open_batches: dict[tuple[str, int], Any] = {}
    done: list[tuple[tuple[str, int], Any]] = []
    for message in messages:
        place = (message.topic, message.shard)
        batch = open_batches.get(place)
        fields = {"key": message.key, "value": message.value, "timestamp": now, "headers": message.headers}
        if batch is None or batch.append(**fields) is None:
            if batch is not None:
                done.append((place, batch))
            batch = open_batches[place] = producer.create_batch()
            if batch.append(**fields) is None:
                raise ValueError(f"a record for {message.topic} is larger than a batch may be")
    return [*done, *open_batches.items()]
