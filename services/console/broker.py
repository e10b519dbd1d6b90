"""What the brokers alone know: the end of the commands topic, the age of what waits there, the relay's progress."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.deciding import fetching
from services.progress import KEY, Progress
from services.topics import topic

ANSWER_SECONDS_MAX = 3.0
PROBE_MILLISECONDS = 150
# Enough for the first record; a larger one comes alone.
PROBE_BYTES = 64 << 10
PROGRESS_BACK = 50


class Broker:
    """Two consumers without a group: nothing they do is seen by others. Methods raise KafkaError, TimeoutError."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        fetching.install()  # Producers write to the commands topic what they like.
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

    async def start(self) -> None:
        """Connect; without a group a consumer has all partitions, also those that come later."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await self._probe.start()
            await self._follower.start()
            self._follower.assign([self._progress_place])

    @property
    def partitions(self) -> list[int]:
        """Of the commands topic."""
        return sorted(place.partition for place in self._probe.assignment())

    async def stop(self) -> None:
        """Close both."""
        await self._probe.stop()
        await self._follower.stop()

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
