"""The Kafka side of the relay: one transactional producer, and its progress."""

from collections.abc import Sequence

from aiokafka import TopicPartition

from services.outputs.reading import read_to_end
from services.outputs.records import Message
from services.outputs.sending import send, transactional_producer
from services.topics import PROGRESS_KEY, Progress, topic


class NoProgress(Exception):
    """The relay does not know how far it has come, and will not guess."""


class Publisher:
    """One life of the producer. After any error it is closed and never used on: a new one asks the broker anew."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._producer = transactional_producer(bootstrap, f"{prefix}.relay")

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
            await send(self._producer, messages, lambda name: topic(self._prefix, name))
            await self._producer.send(topic(self._prefix, "progress"), progress.encode(), key=PROGRESS_KEY, partition=0)


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
