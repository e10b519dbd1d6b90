"""The Kafka side of the relay: one transactional producer, and its progress."""

import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from services.outputs.reading import read_to_end
from services.outputs.records import Message
from services.topics import MIB, PROGRESS_KEY, Progress, topic

TRANSACTION_TIMEOUT_MS = 15_000


class NoProgress(Exception):
    """The relay does not know how far it has come, and will not guess."""


class Publisher:
    """One life of the producer. After any error it is closed and never used on: a new one asks the broker anew."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=f"{prefix}.relay",
            acks="all",
            enable_idempotence=True,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            max_batch_size=int(3.5 * MIB),
            max_request_size=5 * MIB,
        )

    async def start(self) -> Progress:
        """Fence whoever was there, end what they left open, and read how far they came.

        Raises:
            NoProgress: the progress topic holds no record.
        """
        await self._producer.start()
        return await read_progress(self._bootstrap, self._prefix)

    async def close(self) -> None:
        """Close; an open transaction is aborted by whoever starts next, or by the broker."""
        await self._producer.stop()

    async def publish(self, messages: Sequence[Message], progress: Progress) -> None:
        """Messages and the progress they make, all or nothing for read_committed readers."""
        async with self._producer.transaction():
            for (name, shard), batch in self._batches(messages):
                await self._producer.send_batch(batch, topic(self._prefix, name), partition=shard)
            await self._producer.send(topic(self._prefix, "progress"), progress.encode(), key=PROGRESS_KEY, partition=0)

    def _batches(self, messages: Sequence[Message]) -> list[tuple[tuple[str, int], Any]]:
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
                batch = open_batches[place] = self._producer.create_batch()
                if batch.append(**fields) is None:
                    raise ValueError(f"a record for {message.topic} is larger than a batch may be")
        return [*done, *open_batches.items()]


async def read_progress(bootstrap: str, prefix: str) -> Progress:
    """The last committed progress record.

    Raises:
        NoProgress: there is none.
    """
    found: Progress | None = None
    async for record in read_to_end(bootstrap, [TopicPartition(topic(prefix, "progress"), 0)]):
        if record.key == PROGRESS_KEY and record.value is not None:
            found = Progress.decode(record.value)
    if found is None:
        raise NoProgress(
            f"{topic(prefix, 'progress')} holds no record. Resume from the highest ce_sequence on the topics, or from"
            " the log's start if the topics are empty, with: python -m services.relay.rewind topics|start"
        )
    return found
