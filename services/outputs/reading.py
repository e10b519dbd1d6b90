"""Reading topics as a consumer that believes only what was committed."""

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

READ_SECONDS_MAX = 30


async def read_to_end(bootstrap: str, places: Sequence[TopicPartition]) -> AsyncIterator[ConsumerRecord[Any, Any]]:
    """What was committed on the partitions, from their beginning to where they end now.

    Raises:
        TimeoutError: nothing new came for a while, and the end was not reached.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        for place in places:
            deadline = time.monotonic() + READ_SECONDS_MAX
            while await consumer.position(place) < ends[place]:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{place.topic} could not be read to its end: {READ_SECONDS_MAX} s without news")
                for record in (await consumer.getmany(place, timeout_ms=200)).get(place, []):
                    deadline = time.monotonic() + READ_SECONDS_MAX
                    yield record
    finally:
        await consumer.stop()
