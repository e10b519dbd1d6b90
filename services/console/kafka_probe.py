"""What the brokers alone know: where topics end, the age of what waits on the commands topic, the relay's progress."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.kafka import client_compat
from services.kafka.relay_progress import KEY, Progress
from services.kafka.topics import topic

ANSWER_SECONDS_MAX = 3.0
PROBE_MILLISECONDS = 150
# Enough for the first record; a larger one comes alone.
PROBE_BYTES = 64 << 10
PROGRESS_BACK = 50


class Broker:
    """Consumers without a group: nothing they do is seen by others. Methods raise KafkaError, TimeoutError."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        client_compat.install()  # Producers write to the commands topic what they like.
        self.commands = topic(prefix, "commands")
        self._progress_place = TopicPartition(topic(prefix, "progress"), 0)
        common = {"bootstrap_servers": bootstrap, "enable_auto_commit": False, "isolation_level": "read_committed"}
        self._probe = AIOKafkaConsumer(
            self.commands,
            **common,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=PROBE_BYTES,
            fetch_max_wait_ms=50,
        )
        self._follower = AIOKafkaConsumer(**common, auto_offset_reset="earliest", fetch_max_wait_ms=500)
        # Reads nothing: a question would wait until a fetch before it on the same connection has found something.
        self._surveyor = AIOKafkaConsumer(**common)

    async def start(self) -> None:
        """Connect; without a group a consumer has all partitions, also those that come later."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await self._probe.start()
            await self._follower.start()
            await self._surveyor.start()
            self._follower.assign([self._progress_place])

    @property
    def partitions(self) -> list[int]:
        """Of the commands topic."""
        return sorted(place.partition for place in self._probe.assignment())

    async def stop(self) -> None:
        """Close all."""
        for consumer in (self._probe, self._follower, self._surveyor):
            await consumer.stop()

    def _places(self, partitions: list[int]) -> list[TopicPartition]:
        return [TopicPartition(self.commands, number) for number in partitions]

    async def lag(self, watermarks: Mapping[int, int]) -> dict[int, tuple[int, int | None]]:
        """Records above each watermark, and the append time (milliseconds) of the first; None where none waits.

        Below 0 where a partition ends before its watermark: the topic was made again or cut. The count includes the
        marks of a producer's transactions, if any used them, while a record waits.
        """
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            places = self._places([number for number in self.partitions if number in watermarks])
            self._probe.pause(*places)
            ends = {place.partition: end for place, end in (await self._probe.end_offsets(places)).items()}
            waiting = [number for number, end in ends.items() if end > watermarks[number] + 1]
            first: dict[int, int] = {}
            if waiting:
                first = await self._first_appended(waiting, watermarks)
        lags = {number: end - watermarks[number] - 1 for number, end in ends.items()}
        return {
            number: (lag, first[number]) if number in first else (min(lag, 0), None) for number, lag in lags.items()
        }

    async def _first_appended(self, waiting: list[int], watermarks: Mapping[int, int]) -> dict[int, int]:
        places = self._places(waiting)
        for place in places:
            self._probe.seek(place, watermarks[place.partition] + 1)
        self._probe.resume(*places)
        found: dict[int, int] = {}
        for _ in places:
            fetched = await self._probe.getmany(*places, timeout_ms=PROBE_MILLISECONDS)
            for place, records in fetched.items():
                found.setdefault(place.partition, records[0].timestamp)
            if not fetched or len(found) == len(places):
                break
        self._probe.pause(*places)
        return found

    async def bounds(self, topics: Iterable[str]) -> dict[TopicPartition, tuple[int, int]]:
        """Where the partitions of these topics (full names) begin and end, of those that there are."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            cluster = await self._surveyor._client.fetch_all_metadata()
            numbers = {name: cluster.partitions_for_topic(name) or () for name in topics}
            places = [TopicPartition(name, number) for name in numbers for number in numbers[name]]
            begins = await self._surveyor.beginning_offsets(places)
            ends = await self._surveyor.end_offsets(places)
        return {place: (begins[place], ends[place]) for place in places}

    async def first_progress(self) -> Progress | None:
        """The relay's last progress record; it stands at the topic's end, behind it only a transaction's mark."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            end = (await self._follower.end_offsets([self._progress_place]))[self._progress_place]
            beginning = (await self._follower.beginning_offsets([self._progress_place]))[self._progress_place]
            self._follower.seek(self._progress_place, max(end - PROGRESS_BACK, beginning))
            found = None
            while await self._follower.position(self._progress_place) < end:
                found = await self.next_progress() or found
        return found

    async def next_progress(self) -> Progress | None:
        """The newest progress record that came since, None where none has come within half a second."""
        found = None
        for records in (await self._follower.getmany(timeout_ms=500)).values():
            for record in records:
                if record.key == KEY and record.value is not None:
                    found = Progress.decode(record.value)
        return found
