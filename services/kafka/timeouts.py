"""Deadlines for work that waits for brokers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiokafka.errors import KafkaTimeoutError

OFFSETS_SECONDS_MAX = 5.0
"""For one answer about offsets. aiokafka waits 40 s for a broker that does not answer, and asks no other meanwhile."""


@contextlib.asynccontextmanager
async def kafka_timeout(seconds: float, operation: str) -> AsyncIterator[None]:
    """Cancel the block after ``seconds``, with an error that names Kafka and the operation ("a transaction").

    Raises:
        KafkaTimeoutError: the time has run out. A plain TimeoutError could also come from PostgreSQL.
    """
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield
    except TimeoutError:
        if not deadline.expired():
            raise
        raise KafkaTimeoutError(f"{operation} took longer than {seconds:g} s") from None
