"""Closes producers so that nothing of theirs is sent afterwards, whether or not brokers answer."""

import asyncio
import contextlib

from aiokafka import AIOKafkaProducer

from services.kafka.client_compat import end_producer

FLUSH_SECONDS_MAX = 5


async def close_producer(producer: AIOKafkaProducer, flush_seconds_max: float = FLUSH_SECONDS_MAX) -> None:
    """Give queued records ``flush_seconds_max`` to be acknowledged, then close; an open transaction is not aborted.

    ``stop()`` alone waits without limit for records that brokers do not take, and if it is cancelled the producer goes
    on sending them: they would arrive among, or after, those of the producer that replaces it.

    Afterwards each unacknowledged record has an error: ProducerClosed if it was never sent, KafkaConnectionError if the
    brokers may have it. It may be repeated.
    """
    try:
        with contextlib.suppress(TimeoutError):
            # Not wait_for, which swallows a cancellation in the moment in which the flush ends.
            async with asyncio.timeout(flush_seconds_max):
                await producer.flush()
    finally:
        try:
            await end_producer(producer)
        finally:
            await producer.stop()
