"""Telling Kafka how far a subscriber has come, beside its work."""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.errors import KAFKA_CLIENT_ERRORS

LOGGER = logging.getLogger("handler")


class OffsetCommitter:
    """Offsets to commit, one request at a time, the newest of each partition.

    Nothing waits for them: what has been decided is known from the log alone, and a record that comes again because its
    offset was not committed changes nothing. The group's coordinator collects commits for some milliseconds before it
    writes them; in that time the next batch is decided.
    """

    def __init__(self) -> None:
        self._pending_offsets: dict[TopicPartition, int] = {}
        self._commit_task: asyncio.Task[None] | None = None

    def commit(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit, soon: ``offsets`` are those of the next records."""
        self._pending_offsets.update(offsets)
        if self._commit_task is None or self._commit_task.done():
            self._commit_task = asyncio.create_task(self._commit(consumer))

    async def flush(self, seconds_max: float) -> None:
        """Return when everything is committed, or the time is over."""
        if self._commit_task is not None:
            await asyncio.wait({self._commit_task}, timeout=seconds_max)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        while self._pending_offsets:
            offsets, self._pending_offsets = self._pending_offsets, {}
            try:
                await consumer.commit(offsets)
            except KAFKA_CLIENT_ERRORS as error:
                # As when the partitions are another's meanwhile: it looks at the log.
                LOGGER.info("offsets were not committed: %s", type(error).__name__)
