"""The Kafka side of the relay: one transactional producer, and its progress."""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import RecordMetadata

from services.kafka.relay_progress import KEY, Progress
from services.kafka.topics import topic
from services.kafka.transactions import close, commit, transactional_producer
from services.publishing.cloudevents import Message
from services.publishing.topic_ends import progress_on
from services.relay.startup_checks import NeedsOperator

# A transaction that somebody left open ends by itself before that.
START_SECONDS_MAX = 45


class Publisher:
    """One life of the producer. After any error it is closed and never used on: a new one asks the broker anew."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = transactional_producer(bootstrap, f"{prefix}.relay")

    async def start(self) -> tuple[Progress, datetime] | None:
        """Fence whoever was there, end what they left open, and read how far they came, and when they last said so.

        None if nothing says it.
        """
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._producer.start()
        except TimeoutError:
            raise KafkaTimeoutError(f"no transaction could be begun in {START_SECONDS_MAX} s") from None
        return await progress_on(self._bootstrap, topic(self._prefix, "progress"))

    async def close(self) -> None:
        """Close; an open transaction is aborted by whoever starts next, or by the broker."""
        await close(self._producer)

    async def publish(self, messages: Sequence[Message], before: Progress, progress: Progress) -> None:
        """Messages and the progress they make, all or nothing for read_committed readers.

        Raises:
            NeedsOperator: a topic begins here that was filled ``before``: it was made again while the relay ran.
        """

        def look(placed: Sequence[RecordMetadata]) -> None:
            for place in placed:
                output, shard = place.topic.removeprefix(f"{self._prefix}."), place.partition
                filled = before.sequences.get(output)
                if place.offset == 0 and filled and filled[shard] and not before.replaying(output, shard):
                    raise NeedsOperator(f"{place.topic} was made again while the relay ran")

        of_progress = (topic(self._prefix, "progress"), KEY, progress.encode())
        await commit(self._producer, messages, lambda name: topic(self._prefix, name), of_progress, look)


def lock_name(prefix: str) -> str:
    """Of the lock in PostgreSQL that whoever writes the service's outputs holds."""
    return f"relay {prefix}"
