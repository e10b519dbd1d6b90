"""Checks a process's partitions against the topic and the log once a second, even while they are idle."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.config.handler import HandlerSettings
from services.eventlog.pipeline_queries import PipelineQueries
from services.handler.consumer import CommandConsumer
from services.handler.position_checks import find_lost_watermarks, find_removed_offsets
from services.handler.position_tracker import describe_removed, describe_stop
from services.handler.topic_checks import (
    POSITION_SECONDS_MAX,
    TopicIdentityCheck,
    rejoin_if_partitions_added,
    sample_lag,
)
from services.handler.topic_offsets import PartitionOffsets, TopicOffsetsReader
from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_CLIENT_ERRORS
from services.telemetry.metrics.handler import HandlerMetrics

LOGGER = logging.getLogger("handler")
# The brokers' transaction.max.timeout.ms, where it is set as deploy/docs/deploying.md asks: they abort what is older.
OPEN_TRANSACTION_SECONDS_MAX = 60


def describe_open_transactions(commands_topic: str, hidden: Mapping[int, int]) -> str:
    """Describe the transactions that hide commands, and how to end them; ``hidden``: first offset by partition."""
    places = ", ".join(f"partition {partition} from offset {offset} on" for partition, offset in hidden.items())
    commands = ", ".join(
        f"kafka-transactions.sh --bootstrap-server $KAFKA_BOOTSTRAP describe-producers --topic {commands_topic}"
        f" --partition {partition}"
        for partition in hidden
    )
    return (
        f"a producer's transaction has been open for more than {OPEN_TRANSACTION_SECONDS_MAX} s and hides commands:"
        f" {places}. To find the producer, run {commands}; stop it, or end its transaction with kafka-transactions.sh"
        " abort, the same topic and partition, and the start offset as listed. The brokers' transaction.max.timeout.ms"
        f" should be {OPEN_TRANSACTION_SECONDS_MAX * 1000}"
    )


class ConsumerWatch:
    """The checks of one consumer. ``watermarks``: of its partitions, as read from the log at the last check."""

    def __init__(self, consumer: CommandConsumer, settings: HandlerSettings, partition_count: int) -> None:
        self.consumer = consumer
        self.watermarks: dict[int, int] = {}
        self._partition_count = partition_count
        self._identity_check = TopicIdentityCheck(settings.url())
        # Partitions whose records the log lost, each with the watermark after which they are processed again.
        self._forgotten: dict[int, int] = {}

    @property
    def client(self) -> AIOKafkaConsumer | None:
        """The consumer's client, None before its start."""
        client: AIOKafkaConsumer | None = self.consumer.faststream_subscriber.consumer
        return client

    def assignment(self) -> set[TopicPartition]:
        """Return the partitions that are assigned to the consumer now."""
        return set() if self.client is None else set(self.client.assignment())

    async def check_topic(self, offsets: Mapping[int, PartitionOffsets]) -> None:
        """Sample the lag; find partitions that were added, recreated, cut, or hidden by an open transaction."""
        client, consumer = self.client, self.consumer
        if client is None:
            return
        assigned = {place for place in client.assignment() if place.partition in offsets}
        self._partition_count = rejoin_if_partitions_added(client, consumer.commands_topic, self._partition_count)
        consumer.passed_markers.confirm(offsets)
        if not await sample_lag(consumer.lag, client, assigned, offsets):
            return
        consumer.health.set_component_problem(f"{consumer.name} transactions", self._describe_open_transaction(offsets))
        consumer.health.set_component_problem(f"{consumer.name} retention", self._describe_removed(offsets))
        consumer.health.set_component_problem(f"{consumer.name} first records", self._describe_never_read(offsets))
        if consumer.session is None:
            return
        position_tracker = consumer.session.position_tracker
        recreated = await self._identity_check.find_recreated_partitions(client, assigned, position_tracker.incarnation)
        for partition, offset in recreated.items():
            position_tracker.stop_recreated(partition, offset)
        if recreated:
            consumer.health.set_component_problem(consumer.name, position_tracker.problem)

    def _describe_open_transaction(self, offsets: Mapping[int, PartitionOffsets]) -> str | None:
        lag = self.consumer.lag
        hidden = {
            partition: offsets[partition].stable_end
            for partition in sorted(lag.partitions())
            if partition in offsets and lag.open_transaction_seconds(partition) > OPEN_TRANSACTION_SECONDS_MAX
        }
        return describe_open_transactions(self.consumer.commands_topic, hidden) if hidden else None

    def _describe_removed(self, offsets: Mapping[int, PartitionOffsets]) -> str | None:
        for partition, watermark in list(self._forgotten.items()):
            if self.watermarks.get(partition, -1) >= watermark:
                del self._forgotten[partition]
        problems = []
        for partition, watermark in self._forgotten.items():
            if partition in offsets and partition in self.watermarks:
                resumed_at = max(self.watermarks[partition], 0)
                removed = find_removed_offsets(resumed_at, min(offsets[partition].beginning, watermark + 1))
                if removed:
                    problems.append(f"records {removed[0]} to {removed[-1]} of partition {partition}")
        if not problems:
            return None
        return (
            f"the log was restored to an earlier time, and retention removed its lost records: {', '.join(problems)}."
            " They were not processed again: restore a later backup of the log"
        )

    def _describe_never_read(self, offsets: Mapping[int, PartitionOffsets]) -> str | None:
        """Describe partitions that lost their first records before any was processed, including empty ones.

        For other partitions the next record shows the loss, because they may end with transaction markers.
        """
        problems = [
            describe_stop(partition, describe_removed(removed))
            for partition, watermark in self.processed().items()
            if watermark == -1 and partition in self.watermarks and partition in offsets
            if (removed := find_removed_offsets(watermark, offsets[partition].beginning))
        ]
        return "; ".join(problems) or None

    def processed(self) -> dict[int, int]:
        """Return, by assigned partition, the highest offset that the log is known to have processed (-1: none)."""
        session = self.consumer.session
        tracked = {} if session is None else session.position_tracker.watermarks
        return {
            place.partition: max(tracked.get(place.partition, -1), self.watermarks.get(place.partition, -1))
            for place in self.assignment()
        }

    def find_lost(self, processed: Mapping[int, int], watermarks: Mapping[int, int]) -> dict[int, int]:
        """Compare ``processed``, from before the log was read, with the log's watermarks; return those that fell."""
        assigned = {place.partition for place in self.assignment()}
        lost = {
            partition: watermark
            for partition, watermark in find_lost_watermarks(processed, watermarks).items()
            if partition in assigned
        }
        for partition, watermark in lost.items():
            LOGGER.error(
                "the log went back from offset %s to %s: a failover or restore lost the decisions after it;"
                " the records are processed again",
                processed[partition],
                watermark,
                extra={"partition": partition},
            )
            self._forgotten[partition] = max(processed[partition], self._forgotten.get(partition, -1))
        self.watermarks = {partition: watermarks[partition] for partition in processed if partition in assigned}
        self.consumer.unverified |= lost.keys()
        return lost

    async def rewind_unverified(self) -> None:
        """Seek back to records that the log lost, or that a failed fetch or an unreadable log may have left out."""
        unverified = self.consumer.unverified & self.watermarks.keys()
        try:
            async with asyncio.timeout(POSITION_SECONDS_MAX):
                await self.consumer.rewind({partition: self.watermarks[partition] for partition in unverified})
        except (*KAFKA_CLIENT_ERRORS, TimeoutError):
            return  # A rebalance: the next check tries the partitions that are still assigned.
        self.consumer.unverified -= unverified


class PartitionWatch:
    """The checks of all consumers of a process."""

    def __init__(
        self,
        consumers: Sequence[CommandConsumer],
        settings: HandlerSettings,
        partition_count: int,
        metrics: HandlerMetrics,
    ) -> None:
        self._metrics = metrics
        self.topic_offsets = TopicOffsetsReader(settings.kafka_bootstrap)
        self._commands_topic = full_topic_name(settings.topic_prefix, "commands")
        self._watches = [ConsumerWatch(consumer, settings, partition_count) for consumer in consumers]

    async def check_kafka(self) -> None:
        """Compare the partitions with the topic; ask for an offset even without any, so that an outage is noticed."""
        assigned = {place for watch in self._watches for place in watch.assignment()}
        for watch in self._watches:
            watch.consumer.passed_markers.begin_check()
        try:
            offsets = await self.topic_offsets.read(assigned or {TopicPartition(self._commands_topic, 0)})
        except BaseException:
            await self.topic_offsets.stop()
            raise
        await asyncio.gather(*(watch.check_topic(offsets) for watch in self._watches))

    async def check_log(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Compare processed offsets with the log's watermarks; if one went back, drop the states of every consumer.

        Every consumer, because records of one partition may belong to shards of another one.
        """
        processed = [watch.processed() for watch in self._watches]
        partitions = sorted({partition for of_consumer in processed for partition in of_consumer})
        if not partitions:
            return
        watermarks = await PipelineQueries(connection).watermarks(self._commands_topic, partitions)
        lost = [
            watch.find_lost(of_consumer, watermarks)
            for watch, of_consumer in zip(self._watches, processed, strict=True)
        ]
        self._metrics.log_rewinds.inc(sum(map(len, lost)))
        # Do this before any record is fetched again: according to the old session's positions it was processed.
        for watch in self._watches:
            watch.consumer.must_reconnect |= any(lost)
        for watch in self._watches:
            await watch.rewind_unverified()
