"""Reading topics as a consumer that believes only what was committed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

READ_SECONDS_MAX = 30
POLL_SECONDS = 0.01
TAIL_OFFSETS = 64

Record: TypeAlias = ConsumerRecord[Any, Any]


@asynccontextmanager
async def reader(
    bootstrap: str, places: Sequence[TopicPartition], isolation_level: str = "read_committed"
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group, on the partitions' beginnings."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation_level,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    try:
        await consumer.start()
        consumer.assign(places)
        yield consumer
    finally:
        await consumer.stop()


async def read_until(
    consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]
) -> AsyncIterator[tuple[TopicPartition, list[Record]]]:
    """What was committed on the partitions, from where the consumer stands up to those offsets.

    Raises:
        KafkaTimeoutError: nothing new came for a while, and an end was not reached.
    """
    at = {place: await consumer.position(place) for place in ends}
    deadline = time.monotonic() + READ_SECONDS_MAX
    while left := [place for place, end in ends.items() if at[place] < end]:
        if time.monotonic() > deadline:
            topics = ", ".join(sorted({place.topic for place in left}))
            raise KafkaTimeoutError(f"{topics} could not be read to the end: {READ_SECONDS_MAX} s without news")
        for place, records in (await consumer.getmany(*left, timeout_ms=200)).items():
            yield place, records
        # What was aborted is passed over without a record.
        now_at = {place: await consumer.position(place) for place in ends}
        if now_at != at:
            at, deadline = now_at, time.monotonic() + READ_SECONDS_MAX


async def read_to_end(bootstrap: str, places: Sequence[TopicPartition]) -> AsyncIterator[Record]:
    """What was committed on the partitions, from their beginning to where they end now.

    Raises:
        KafkaTimeoutError: nothing new came for a while, and the end was not reached.
    """
    async with reader(bootstrap, places) as consumer:
        async for _, records in read_until(consumer, await consumer.end_offsets(places)):
            for record in records:
                yield record


async def until_readable(bootstrap: str, places: Sequence[TopicPartition]) -> None:
    """Return once all that stands on the partitions now was committed or aborted, and is seen to be.

    Kafka answers a commit before it writes it to the partitions: for some milliseconds a reader ends before it.

    Raises:
        KafkaTimeoutError: a transaction stays open.
    """
    async with reader(bootstrap, places, "read_uncommitted") as all_that_stands:
        ends = await all_that_stands.end_offsets(places)
    deadline = time.monotonic() + READ_SECONDS_MAX
    async with reader(bootstrap, places) as consumer:
        while any(at < ends[place] for place, at in (await consumer.end_offsets(places)).items()):
            if time.monotonic() > deadline:
                topics = ", ".join(sorted({place.topic for place in places}))
                raise KafkaTimeoutError(f"a transaction on {topics} is open for {READ_SECONDS_MAX} s")
            await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Last:
    """The last wanted record of a partition, None if there is none; ``new``: none was ever removed by retention."""

    record: Record | None
    new: bool


async def last_records(
    bootstrap: str, places: Sequence[TopicPartition], wanted: Callable[[Record], bool]
) -> dict[TopicPartition, Last]:
    """The last committed record of each partition of those that are wanted, found by reading backwards.

    Raises:
        KafkaTimeoutError: nothing new came for a while, and the end was not reached.
    """
    async with reader(bootstrap, places) as consumer:
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        found: dict[TopicPartition, Last] = {}
        looking, window = set(places), TAIL_OFFSETS
        while looking:
            starts = {place: max(begins[place], ends[place] - window) for place in looking}
            for place, start in starts.items():
                consumer.seek(place, start)
            last: dict[TopicPartition, Record] = {}
            async for place, records in read_until(consumer, {place: ends[place] for place in looking}):
                for record in filter(wanted, records):
                    last[place] = record
            for place, start in starts.items():
                if place in last or start == begins[place]:
                    found[place] = Last(last.get(place), new=begins[place] == 0)
            looking -= set(found)
            window *= 16
        return found
