"""What the brokers alone know: where topics end, the age of what waits on the commands topic, the relay's progress."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.kafka import client_compat
from services.kafka.relay_progress import PROGRESS_KEY, RelayProgress
from services.kafka.topics import full_topic_name

REQUEST_TIMEOUT_SECONDS = 3.0
FETCH_TIMEOUT_MILLISECONDS = 150
# Enough for the first record; a larger one comes alone.
FETCH_BYTES_MAX = 64 << 10
PROGRESS_LOOKBACK = 50


class KafkaProbe:
    """Consumers without a group: nothing they do is seen by others. Methods raise KafkaError, TimeoutError."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        client_compat.patch_fetcher()  # Producers write to the commands topic what they like.
        self.commands_topic = full_topic_name(prefix, "commands")
        self._progress_partition = TopicPartition(full_topic_name(prefix, "progress"), 0)
        consumer_config = {
            "bootstrap_servers": bootstrap,
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
        # Reads nothing: a question would wait until a fetch before it on the same connection has found something.
        self._metadata_consumer = AIOKafkaConsumer(**consumer_config)

    async def start(self) -> None:
        """Connect; without a group a consumer has all partitions, also those that come later."""
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            await self._lag_consumer.start()
            await self._progress_consumer.start()
            await self._metadata_consumer.start()
            self._progress_consumer.assign([self._progress_partition])

    @property
    def partitions(self) -> list[int]:
        """Of the commands topic."""
        return sorted(topic_partition.partition for topic_partition in self._lag_consumer.assignment())

    async def stop(self) -> None:
        """Close all."""
        for consumer in (self._lag_consumer, self._progress_consumer, self._metadata_consumer):
            await consumer.stop()

    def _topic_partitions(self, partitions: list[int]) -> list[TopicPartition]:
        return [TopicPartition(self.commands_topic, partition) for partition in partitions]

    async def read_lag(self, watermarks: Mapping[int, int]) -> dict[int, tuple[int, int | None]]:
        """Records above each watermark, and the append time (milliseconds) of the first; None where none waits.

        Below 0 where a partition ends before its watermark: the topic was made again or cut. The count includes the
        marks of a producer's transactions, if any used them, while a record waits.
        """
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            topic_partitions = self._topic_partitions(
                [partition for partition in self.partitions if partition in watermarks]
            )
            self._lag_consumer.pause(*topic_partitions)
            end_offsets = {
                topic_partition.partition: end
                for topic_partition, end in (await self._lag_consumer.end_offsets(topic_partitions)).items()
            }
            lagging_partitions = [
                partition for partition, end in end_offsets.items() if end > watermarks[partition] + 1
            ]
            first_append_times: dict[int, int] = {}
            if lagging_partitions:
                first_append_times = await self._read_first_append_times(lagging_partitions, watermarks)
        lags = {partition: end - watermarks[partition] - 1 for partition, end in end_offsets.items()}
        return {
            partition: (lag, first_append_times[partition]) if partition in first_append_times else (min(lag, 0), None)
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
        """Where the partitions of these topics (full names) begin and end, of those that there are."""
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            cluster = await self._metadata_consumer._client.fetch_all_metadata()
            partitions_by_topic = {name: cluster.partitions_for_topic(name) or () for name in topics}
            topic_partitions = [
                TopicPartition(name, number) for name in partitions_by_topic for number in partitions_by_topic[name]
            ]
            begin_offsets = await self._metadata_consumer.beginning_offsets(topic_partitions)
            end_offsets = await self._metadata_consumer.end_offsets(topic_partitions)
        return {
            topic_partition: (begin_offsets[topic_partition], end_offsets[topic_partition])
            for topic_partition in topic_partitions
        }

    async def read_latest_progress(self) -> RelayProgress | None:
        """The relay's last progress record; it stands at the topic's end, behind it only a transaction's mark."""
        async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
            end_offset = (await self._progress_consumer.end_offsets([self._progress_partition]))[
                self._progress_partition
            ]
            beginning_offset = (await self._progress_consumer.beginning_offsets([self._progress_partition]))[
                self._progress_partition
            ]
            self._progress_consumer.seek(
                self._progress_partition, max(end_offset - PROGRESS_LOOKBACK, beginning_offset)
            )
            latest_progress = None
            while await self._progress_consumer.position(self._progress_partition) < end_offset:
                latest_progress = await self.poll_progress() or latest_progress
        return latest_progress

    async def poll_progress(self) -> RelayProgress | None:
        """The newest progress record that came since, None where none has come within half a second."""
        latest_progress = None
        for records in (await self._progress_consumer.getmany(timeout_ms=500)).values():
            for record in records:
                if record.key == PROGRESS_KEY and record.value is not None:
                    latest_progress = RelayProgress.decode(record.value)
        return latest_progress
