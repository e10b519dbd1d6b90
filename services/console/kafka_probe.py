"""Reads what only the brokers know: ends of topics, the age of undecided commands, the relay's progress."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from schemas.topics import count_lanes
from services.kafka.client_compat import fetch_partitions
from services.kafka.client_options import client_options
from services.kafka.client_patches import patch_fetcher
from services.kafka.progress_topic import read_lanes
from services.kafka.relay_progress import RelayProgress, progress_key
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import full_topic_name

REQUEST_TIMEOUT_SECONDS = 3.0
FETCH_TIMEOUT_MILLISECONDS = 150
# Enough for the first record; Kafka returns a larger one alone.
FETCH_BYTES_MAX = 64 << 10


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """Undecided records of a partition.

    ``records``: number above the watermark; negative if the partition ends before it (it was recreated or truncated).
    ``oldest_append_time``: milliseconds since 1970, None if nothing waits.
    """

    records: int
    oldest_append_time: int | None


class KafkaProbe:
    """Reads without a consumer group, so that nothing changes on the brokers. Methods raise KafkaError and OSError."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        patch_fetcher()  # Commands may have header keys that are not UTF-8.
        self.commands_topic = full_topic_name(prefix, "commands")
        self._bootstrap = bootstrap
        self._progress_topic = full_topic_name(prefix, "progress")
        self._lanes: list[int] = []
        self._progress_by_lane: dict[int, RelayProgress] = {}
        consumer_config = {
            **client_options(bootstrap),
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
        }
        self._lag_consumer = AIOKafkaConsumer(
            self.commands_topic,
            **consumer_config,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            fetch_max_wait_ms=50,
        )
        self._progress_consumer = AIOKafkaConsumer(
            **consumer_config, auto_offset_reset="earliest", fetch_max_wait_ms=500
        )
        # This consumer never fetches: its requests would wait behind a long-polling fetch on the same connection.
        self._offsets_consumer = AIOKafkaConsumer(**consumer_config)
        # Sees the end of a partition even while an open transaction hides records from other consumers.
        self._end_consumer = AIOKafkaConsumer(**{**consumer_config, "isolation_level": "read_uncommitted"})

    async def start(self) -> None:
        """Connect. A consumer without a group reads all partitions, also those added later."""
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "connecting"):
            await self._lag_consumer.start()
            await self._progress_consumer.start()
            await self._offsets_consumer.start()
            await self._end_consumer.start()
            partitions = (await fetch_partitions(self._offsets_consumer)).get(self._progress_topic)
            self._lanes = sorted(partitions or range(count_lanes()))
            lanes = [TopicPartition(self._progress_topic, lane) for lane in self._lanes]
            self._progress_consumer.assign(lanes)
            await self._progress_consumer.seek_to_end(*lanes)

    @property
    def partitions(self) -> list[int]:
        """The partitions of the commands topic."""
        return sorted(topic_partition.partition for topic_partition in self._lag_consumer.assignment())

    @property
    def lanes(self) -> list[int]:
        """The lanes of the relays."""
        return self._lanes

    async def stop(self) -> None:
        """Disconnect."""
        for consumer in (self._lag_consumer, self._progress_consumer, self._offsets_consumer, self._end_consumer):
            await consumer.stop()

    def _topic_partitions(self, partitions: list[int]) -> list[TopicPartition]:
        return [TopicPartition(self.commands_topic, partition) for partition in partitions]

    async def read_lag(self, watermarks: Mapping[int, int]) -> dict[int, PartitionLag]:
        """Read the lag of each partition against the log's watermarks.

        While a record waits, transaction markers and records hidden by an open transaction count too.
        """
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "reading the lag"):
            topic_partitions = self._topic_partitions(
                [partition for partition in self.partitions if partition in watermarks]
            )
            self._lag_consumer.pause(*topic_partitions)
            stable_ends = await self._lag_consumer.end_offsets(topic_partitions)
            end_offsets = await self._end_consumer.end_offsets(topic_partitions)
            lags = {
                topic_partition.partition: end - watermarks[topic_partition.partition] - 1
                for topic_partition, end in end_offsets.items()
            }
            lagging_partitions = [partition for partition, lag in lags.items() if lag > 0]
            append_times = (
                await self._read_first_append_times(lagging_partitions, watermarks) if lagging_partitions else {}
            )
        hiding = {place.partition for place, end in end_offsets.items() if stable_ends[place] < end}
        # Other partitions without a first record have only transaction markers above the watermark.
        return {
            partition: PartitionLag(
                lag if partition in append_times or partition in hiding else min(lag, 0), append_times.get(partition)
            )
            for partition, lag in lags.items()
        }

    async def _read_first_append_times(
        self, lagging_partitions: list[int], watermarks: Mapping[int, int]
    ) -> dict[int, int]:
        topic_partitions = self._topic_partitions(lagging_partitions)
        for topic_partition in topic_partitions:
            self._lag_consumer.seek(topic_partition, watermarks[topic_partition.partition] + 1)
        self._lag_consumer.resume(*topic_partitions)
        append_times: dict[int, int] = {}
        for _ in topic_partitions:
            records_by_partition = await self._lag_consumer.getmany(
                *topic_partitions, timeout_ms=FETCH_TIMEOUT_MILLISECONDS
            )
            for topic_partition, records in records_by_partition.items():
                append_times.setdefault(topic_partition.partition, records[0].timestamp)
            if not records_by_partition or len(append_times) == len(topic_partitions):
                break
        self._lag_consumer.pause(*topic_partitions)
        return append_times

    async def read_bounds(self, topics: Iterable[str]) -> dict[TopicPartition, tuple[int, int]]:
        """Return (beginning, end) offsets of every existing partition of these topics (full names)."""
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "reading the ends of topics"):
            return await read_bounds(self._offsets_consumer, topics)

    async def read_latest_progress(self) -> RelayProgress | None:
        """Return the relay's last progress; None while the record of a lane is missing."""
        async with kafka_timeout(REQUEST_TIMEOUT_SECONDS, "reading the relay's progress"):
            stored = await read_lanes(self._bootstrap, self._progress_topic, self._lanes)
        # Records polled in the meantime are newer.
        self._progress_by_lane = stored | self._progress_by_lane
        return self._merge_progress()

    async def poll_progress(self) -> RelayProgress | None:
        """Wait up to half a second for new progress records; return the progress, None if there is no new record."""
        polled = await self._progress_consumer.getmany(timeout_ms=500)
        for topic_partition, records in polled.items():
            lane = topic_partition.partition
            for record in records:
                if record.key == progress_key(lane) and record.value is not None:
                    self._progress_by_lane[lane] = RelayProgress.decode(record.value)
        return self._merge_progress() if polled else None

    def _merge_progress(self) -> RelayProgress | None:
        if len(self._progress_by_lane) < len(self._lanes):
            return None
        return RelayProgress.merge(self._progress_by_lane.values())


async def read_bounds(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[TopicPartition, tuple[int, int]]:
    """Return (beginning, end) offsets of every existing partition of these topics (full names)."""
    # All topics in one request: a request that names a missing topic may create it.
    partitions_by_topic = await fetch_partitions(consumer)
    topic_partitions = [
        TopicPartition(name, partition) for name in topics for partition in partitions_by_topic.get(name, ())
    ]
    begin_offsets = await consumer.beginning_offsets(topic_partitions)
    end_offsets = await consumer.end_offsets(topic_partitions)
    return {
        topic_partition: (begin_offsets[topic_partition], end_offsets[topic_partition])
        for topic_partition in topic_partitions
    }
