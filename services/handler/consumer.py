"""The FastStream application: k batch subscribers of one consumer group, each with its own connection and states."""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, Topic
from faststream.kafka.annotations import KafkaMessage
from faststream.message import AckStatus
from pydantic import SkipValidation

from services.commands.authorization import CommandAuthorizer
from services.commands.processor import CommandProcessor, ConcurrentAppend
from services.commands.state_cache import ENTRIES_MAX
from services.config import HandlerSettings
from services.eventlog.postgres import WRITER, HeartbeatConnection, connect
from services.eventlog.store import EventStore
from services.handler.faststream_adapter import RecordBatch, identity_decoder, parse_batch
from services.handler.metrics import HandlerTelemetry, build_in_flight_records
from services.handler.offset_committer import OffsetCommitter
from services.handler.position_tracker import PositionTracker
from services.handler.topic_checks import TopicIdentityCheck, rejoin_if_partitions_added
from services.kafka.client_compat import Poll, wait_until_idle, wrap_poll
from services.kafka.partitioning import SHARD_COUNT
from services.kafka.topics import full_topic_name
from services.runtime.errors import INFRASTRUCTURE_ERRORS, KAFKA_CLIENT_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.health import Health

LOGGER = logging.getLogger("handler")
# Not by the name of "faststream": that logger has a handler and a form of its own.
FRAMEWORK_LOGGER = logging.getLogger("handler.framework")
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
DRAIN_SECONDS_MAX = 10
POSITION_SECONDS_MAX = 0.5
COMMIT_SECONDS_MAX = 2
# So soon partitions that are added to the topic are read.
METADATA_MILLISECONDS_MAX = 30_000
# Somebody else has decided records of the batch, or has its partitions meanwhile: it is to be fetched anew.
REFETCH_ERRORS = (ConcurrentAppend, *KAFKA_CLIENT_ERRORS)
NewRecords = Sequence[ConsumerRecord[Any, Any]]


class CommandConsumer(ConsumerRebalanceListener):
    """One consumer of the group and all that is its own."""

    def __init__(
        self,
        name: str,
        settings: HandlerSettings,
        health: Health,
        telemetry: HandlerTelemetry,
        authorizer: CommandAuthorizer | None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.authorizer = authorizer
        self.entries_max = ENTRIES_MAX // settings.handler_subscribers
        self.health = health
        self.telemetry = telemetry
        self.lag = telemetry.new_lag()
        self.commands_topic = full_topic_name(settings.topic_prefix, "commands")
        self.connection: HeartbeatConnection | None = None
        self.processor: CommandProcessor | None = None
        self.position_tracker: PositionTracker | None = None
        self.undecidable_partitions: set[int] = set()
        self.offset_committer = OffsetCommitter()
        self.faststream_subscriber: Any = None
        self.stopping = False
        self.topic_identity_check = TopicIdentityCheck(settings.url())
        self.partition_count = SHARD_COUNT

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Let the batch in hand finish, so that the next owner does not meet it."""
        await wait_until_idle(self.faststream_subscriber, DRAIN_SECONDS_MAX)
        await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Partitions may have been another's meanwhile: look at the log again.

        They are also read again from what the log decided last, so that a restored log decides again what it forgot
        without waiting for a new command. It may come too late for the first batch, which looks for itself.
        """
        self.telemetry.metrics.rebalances.inc()
        partitions = sorted(topic_partition.partition for topic_partition in assigned)
        LOGGER.info("%s decides partitions %s", self.name, ", ".join(map(str, partitions)) or "none")
        self.lag.reset()
        self.undecidable_partitions.clear()
        self.health.set_component_problem(self.name, None)
        self._reset_positions()
        try:
            connection = await connect(self.settings.url(), "handler", WRITER)
            try:
                event_store = EventStore(connection)
                incarnation = await event_store.current_incarnation(self.commands_topic)
                watermarks = await event_store.watermarks(
                    incarnation, [topic_partition.partition for topic_partition in assigned]
                )
            finally:
                await connection.close()
            consumer = self.faststream_subscriber.consumer
            for topic_partition in assigned:
                if consumer is not None and await consumer.position(topic_partition) > max(
                    watermarks[topic_partition.partition], 0
                ):
                    consumer.seek(topic_partition, max(watermarks[topic_partition.partition], 0))
        except INFRASTRUCTURE_ERRORS as error:
            LOGGER.warning("could not look at the log on assignment (%s): the first batch will", type(error).__name__)

    async def handle(self, records: RecordBatch, message: KafkaMessage) -> None:
        """Settle a batch. Infrastructure is retried with backoff, then raised: nothing is acknowledged then.

        Any other exception is a bug. No record is passed over for it: its partition waits for other code, and is tried
        again after a pause; the others of the batch go on.
        """
        self.lag.start_batch(build_in_flight_records(records))
        try:
            for pause in (*RETRY_SECONDS, None):
                self.health.heartbeat(self.name)
                self.lag.mark_attempted()
                try:
                    await self._process(records, message)
                    await self._mark_acked(message)
                    return
                except REFETCH_ERRORS:
                    self.telemetry.record_failure()
                    raise
                except POSTGRES_ERRORS as error:
                    self.telemetry.record_failure()
                    self.health.set_component_problem(self.name, describe_error(error))
                    await self._disconnect()
                    if pause is None:
                        raise
                    LOGGER.warning("%s; again in %s s", describe_error(error), pause)
                    await asyncio.sleep(pause)
                except Exception:
                    LOGGER.exception("a batch cannot be looked at")
                    self.telemetry.record_failure()
                    self.health.set_component_problem(
                        self.name, "what is to be decided cannot be looked at: a bug (see the log)"
                    )
                    await asyncio.sleep(RETRY_SECONDS[-1])
                    raise
        except BaseException:
            # All of the batch is fetched again, also of partitions that were to be read from further back.
            self._reset_positions()
            raise
        finally:
            self.lag.finish_batch(self.position_tracker.stopped if self.position_tracker is not None else ())

    async def _process(self, records: RecordBatch, message: KafkaMessage) -> None:
        processor, position_tracker = await self._ensure_connected()
        decide = functools.partial(self._decide, processor, position_tracker, time.time())
        new_records = await position_tracker.filter_new(records, message.consumer)  # type: ignore[arg-type]
        undecidable_records: NewRecords = ()
        if new_records:
            try:
                await decide(new_records)
            except (*POSTGRES_ERRORS, *REFETCH_ERRORS):
                raise
            except Exception:
                LOGGER.exception("a batch cannot be decided: its partitions are tried one by one")
                self.telemetry.record_failure()
                undecidable_records = await _decide_per_partition(new_records, decide)
        self.telemetry.record_redeliveries(position_tracker.redelivered_count)
        self.offset_committer.commit(message.consumer, position_tracker.offsets_to_commit(records))  # type: ignore[arg-type]
        if undecidable_records or self.undecidable_partitions:
            self.undecidable_partitions.difference_update(record.partition for record in records)
            self.undecidable_partitions.update(record.partition for record in undecidable_records)
        self.health.set_component_problem(self.name, position_tracker.problem or self._undecidable_problem())
        if undecidable_records:
            await self._pause_partitions(undecidable_records, message.consumer)  # type: ignore[arg-type]

    async def _decide(
        self, processor: CommandProcessor, position_tracker: PositionTracker, started_at: float, new_records: NewRecords
    ) -> None:
        result = await processor.process(new_records)
        position_tracker.advance(new_records)
        self.telemetry.record_batch(new_records, result, started_at)

    async def _pause_partitions(self, undecidable_records: NewRecords, consumer: AIOKafkaConsumer) -> None:
        """Read these partitions again from there, after a pause. Of the others nothing is read twice for it."""
        for record in undecidable_records:
            consumer.seek(TopicPartition(record.topic, record.partition), record.offset)
        self.health.heartbeat(self.name)
        await asyncio.sleep(RETRY_SECONDS[-1])

    async def _mark_acked(self, message: KafkaMessage) -> None:
        """Nothing is left for FastStream to acknowledge: it would commit again, and wait. The last batch waits."""
        message.committed = AckStatus.ACKED
        if self.stopping:
            await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    async def stop(self) -> None:
        """Return when Kafka knows all offsets; from here on no batch ends before Kafka knows its own."""
        self.stopping = True
        await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    def _undecidable_problem(self) -> str | None:
        if not self.undecidable_partitions:
            return None
        partitions = ", ".join(map(str, sorted(self.undecidable_partitions)))
        return f"partition {partitions} cannot be decided: a bug, or events that newer code wrote (see the log)"

    async def _ensure_connected(self) -> tuple[CommandProcessor, PositionTracker]:
        if (
            self.connection is None
            or self.connection.is_closed()
            or self.processor is None
            or self.position_tracker is None
        ):
            self.connection = await connect(self.settings.url(), "handler", WRITER)
            self.connection.heartbeat = functools.partial(self.health.heartbeat, self.name)
            event_store = EventStore(self.connection)
            incarnation = await event_store.current_incarnation(self.commands_topic)
            self.processor, self.position_tracker = (
                CommandProcessor(
                    event_store, incarnation, self.authorizer, self.entries_max, self.settings.live_events_shard
                ),
                PositionTracker(event_store, incarnation),
            )
        return self.processor, self.position_tracker

    def with_heartbeat(self, poll: Poll) -> Poll:
        """The same question, which tells that this subscriber's loop goes on."""

        async def poll_with_heartbeat(consumer: AIOKafkaConsumer) -> RecordBatch:
            self.health.heartbeat(self.name)
            try:
                records: RecordBatch = await poll(consumer)
                return records
            except Exception:
                # What other partitions had given already is lost with a record that cannot be read.
                self._reset_positions()
                raise

        return poll_with_heartbeat

    async def poll_lag(self) -> None:
        """Ask the brokers where the partitions end, and compare with where the consumer is."""
        consumer = self.faststream_subscriber.consumer
        if consumer is None:
            return
        assigned = consumer.assignment()
        self.partition_count = rejoin_if_partitions_added(consumer, self.commands_topic, self.partition_count)
        # Also without a partition of its own it is to know whether Kafka answers.
        end_offsets = await consumer.end_offsets(assigned or [TopicPartition(self.commands_topic, 0)])
        try:
            async with asyncio.timeout(POSITION_SECONDS_MAX):
                positions = {
                    topic_partition.partition: await consumer.position(topic_partition) for topic_partition in assigned
                }
        except (IllegalStateError, TimeoutError):
            return  # The partitions are being assigned anew: the next look will do.
        self.lag.sample(positions, {topic_partition.partition: end for topic_partition, end in end_offsets.items()})
        if (position_tracker := self.position_tracker) is not None:
            recreated = await self.topic_identity_check.find_recreated_partitions(
                consumer, assigned, position_tracker.incarnation
            )
            for partition, offset in recreated.items():
                position_tracker.stop_recreated(partition, offset)
            if recreated:
                self.health.set_component_problem(self.name, position_tracker.problem)

    def _reset_positions(self) -> None:
        if self.position_tracker is not None:
            self.position_tracker.reset()

    async def _disconnect(self) -> None:
        if self.connection is not None:
            self.connection.terminate()
        self.connection = self.processor = self.position_tracker = None


async def _decide_per_partition(new_records: NewRecords, decide: Callable[[NewRecords], Awaitable[None]]) -> NewRecords:
    """Decide each partition's records by themselves; the first of each partition that cannot be decided."""
    by_partition: dict[int, list[ConsumerRecord[Any, Any]]] = {}
    for record in new_records:
        by_partition.setdefault(record.partition, []).append(record)
    undecidable_records = []
    for partition, partition_records in by_partition.items():
        try:
            await decide(partition_records)
        except (*POSTGRES_ERRORS, *REFETCH_ERRORS):
            raise
        except Exception:
            LOGGER.exception("partition %s cannot be decided", partition)
            undecidable_records.append(partition_records[0])
    return undecidable_records


def build_app(
    settings: HandlerSettings, health: Health, telemetry: HandlerTelemetry, authorizer: CommandAuthorizer | None
) -> tuple[FastStream, list[CommandConsumer]]:
    """The application and its subscribers; nothing is connected yet. ``authority`` None believes every record."""
    broker = KafkaBroker(
        settings.bootstrap_servers(),
        allow_auto_create_topics=False,
        metadata_max_age_ms=METADATA_MILLISECONDS_MAX,
        logger=FRAMEWORK_LOGGER,
        graceful_timeout=30.0,
        log_level=logging.DEBUG,
        consumer_only=True,
    )
    subscribers = []
    for index in range(settings.handler_subscribers):
        subscriber = CommandConsumer(f"commands-{index}", settings, health, telemetry, authorizer)
        subscribers.append(subscriber)
        faststream_subscriber = broker.subscriber(
            Topic(subscriber.commands_topic, declare=False),
            group_id=f"{settings.topic_prefix}.handler",
            group_instance_id=f"{settings.handler_instance}-{index}" if settings.handler_instance else None,
            batch=True,
            max_records=settings.handler_batch_records,
            batch_timeout_ms=10,
            fetch_max_wait_ms=50,
            auto_offset_reset="earliest",
            ack_policy=AckPolicy.NACK_ON_ERROR,
            isolation_level="read_committed",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            rebalance_timeout_ms=30_000,
            listener=subscriber,
            parser=parse_batch,
            decoder=identity_decoder,
            no_reply=True,
            title=subscriber.name,
        )
        subscriber.faststream_subscriber = faststream_subscriber
        faststream_subscriber(_build_handler(subscriber))
        wrap_poll(faststream_subscriber, subscriber.with_heartbeat)
    return FastStream(broker, logger=FRAMEWORK_LOGGER, on_shutdown=[s.stop for s in subscribers]), subscribers


def _build_handler(subscriber: CommandConsumer) -> Callable[..., Awaitable[None]]:
    async def handle(records: SkipValidation[Any], message: KafkaMessage) -> None:
        await subscriber.handle(records, message)

    return handle
