"""Commits consumer offsets in the background."""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime.errors import KAFKA_CLIENT_ERRORS

LOGGER = logging.getLogger("handler")


class OffsetCommitter:
    """Commits the newest offset of each partition, one request at a time.

    Processing does not wait for commits: only the log decides what was processed, and a record that is redelivered
    because its offset was not committed changes nothing. The group's coordinator takes some milliseconds for a commit,
    in which the next batch is processed.
    """

    def __init__(self) -> None:
        self._pending_offsets: dict[TopicPartition, int] = {}
        self._commit_task: asyncio.Task[None] | None = None

    def commit(self, consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int]) -> None:
        """Schedule a commit; ``offsets``: of the next records to read."""
        self._pending_offsets.update(offsets)
        if self._commit_task is None or self._commit_task.done():
            self._commit_task = asyncio.create_task(self._commit(consumer))

    async def flush(self, seconds_max: float) -> None:
        """Wait until everything is committed, at most ``seconds_max``."""
        if self._commit_task is not None:
            await asyncio.wait({self._commit_task}, timeout=seconds_max)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        while self._pending_offsets:
            offsets, self._pending_offsets = self._pending_offsets, {}
            try:
                await consumer.commit(offsets)
            except KAFKA_CLIENT_ERRORS as error:
                # No retry: the next owner of the partitions starts from the log's watermarks.
                LOGGER.info("offsets were not committed: %s", type(error).__name__)
