"""One consumer of the handler's group: fetch, filter, process, commit, with retries and health."""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from faststream.kafka.annotations import KafkaMessage
from faststream.message import AckStatus

from services.commands.authorization import CommandAuthorizer
from services.commands.processor import ConcurrentAppend
from services.config.handler import HandlerSettings
from services.eventlog.clocks import ClocksDiffer
from services.eventlog.encryption import MasterKeyDiffers
from services.eventlog.installation import Installation
from services.eventlog.session import SessionModeRequired
from services.handler.batch_transactions import BatchTransactions
from services.handler.cache_share import CacheShare
from services.handler.faststream_adapter import RecordBatch
from services.handler.log_session import LogSession, open_log_session, read_watermarks
from services.handler.metrics import HandlerTelemetry, build_in_flight_records
from services.handler.offset_committer import OffsetCommitter
from services.handler.passed_markers import PassedMarkers
from services.handler.position_checks import is_new
from services.kafka.client_compat import Poll, rejoin_after_failed_task, wait_until_idle
from services.kafka.partitioning import group_by_partition
from services.kafka.timeouts import OFFSETS_SECONDS_MAX, kafka_timeout
from services.kafka.topics import full_topic_name
from services.runtime.errors import INFRASTRUCTURE_ERRORS, KAFKA_CLIENT_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import Health

LOGGER = logging.getLogger("handler")
# The log is unavailable: retry with backoff.
# MasterKeyDiffers: another process has made a master key the log's since this one started. A single key that cannot be
# unwrapped is no such error: it stops its partition only.
EXPLAINED_ERRORS = (ClocksDiffer, MasterKeyDiffers, SessionModeRequired)
LOG_ERRORS = (*POSTGRES_ERRORS, *EXPLAINED_ERRORS)
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
DRAIN_SECONDS_MAX = 10
COMMIT_SECONDS_MAX = 2
# Another handler processed records of the batch or owns its partitions by now, or the log lost records processed
# before it: fetch again instead of retrying.
REFETCH_ERRORS = (ConcurrentAppend, *KAFKA_CLIENT_ERRORS)
Records = Sequence[ConsumerRecord[Any, Any]]


class CommandConsumer(ConsumerRebalanceListener):
    """Processes the batches of its partitions, one at a time, over its own connection."""

    def __init__(
        self,
        name: str,
        settings: HandlerSettings,
        installation: Installation,
        health: Health,
        telemetry: HandlerTelemetry,
        authorizer: CommandAuthorizer | None,
        cache_share: CacheShare,
    ) -> None:
        self.name = name
        self.cache_share = cache_share
        self.settings = settings
        self.installation = installation
        self.authorizer = authorizer
        self.health = health
        self.telemetry = telemetry
        self.lag = telemetry.new_lag()
        self.commands_topic = full_topic_name(settings.topic_prefix, "commands")
        self.session: LogSession | None = None
        self.failing_partitions: set[int] = set()
        self.is_revoking = False
        self.is_poll_failing = False
        self.offset_committer = OffsetCommitter()
        self.faststream_subscriber: Any = None
        self.stopping = False
        self._refused_appends = 0
        # Partitions whose position is compared with the watermark at the next check of the log.
        self.unverified: set[int] = set()
        # Kept when the log is connected again.
        self.passed_markers = PassedMarkers()
        # The log went back: states and positions come from decisions that it no longer has.
        self.must_reconnect = False

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Finish the transaction in progress, so that the next owner does not process the same records concurrently."""
        self.is_revoking = True
        await wait_until_idle(self.faststream_subscriber, DRAIN_SECONDS_MAX)
        await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Forget the positions and rewind to the log's watermarks.

        Another handler may have owned the partitions, and a restored database may have lost records: the rewind
        processes those without waiting for a new command. It may be too late for the first batch, which the position
        tracker checks.
        """
        self.is_revoking = False
        self.telemetry.metrics.rebalances.inc()
        partitions = sorted(topic_partition.partition for topic_partition in assigned)
        LOGGER.info("%s is assigned partitions %s", self.name, ", ".join(map(str, partitions)) or "none")
        self.lag.reset()
        self.failing_partitions.clear()
        self.health.set_component_problem(self.name, None)
        self._reset_positions()
        self.unverified = set(partitions)
        self.cache_share.set_active(self.name, bool(partitions))
        if not partitions:
            self.disconnect()  # The cached states belong to other consumers now.
        try:
            watermarks = await read_watermarks(self.settings, partitions)
            async with kafka_timeout(OFFSETS_SECONDS_MAX, "reading the positions on assignment"):
                await self.rewind(watermarks)
        except INFRASTRUCTURE_ERRORS as error:
            LOGGER.warning("watermarks were not read on assignment and are read later: %s", type(error).__name__)
        else:
            self.unverified = set()

    async def rewind(self, watermarks: Mapping[int, int]) -> None:
        """Seek partitions back to their watermarks where the position is ahead of them."""
        consumer = self.faststream_subscriber.consumer
        if consumer is None:
            return
        for partition, watermark in watermarks.items():
            topic_partition = TopicPartition(self.commands_topic, partition)
            if topic_partition in consumer.assignment() and await consumer.position(topic_partition) > max(
                watermark, 0
            ):
                consumer.seek(topic_partition, max(watermark, 0))

    async def handle(self, records: RecordBatch, message: KafkaMessage) -> None:
        """Process a batch. Retry infrastructure errors with backoff, then raise, so that the batch is fetched again.

        Any other exception is a bug. It skips no record: the partition is retried after a pause until a fix is
        deployed, and the other partitions continue.
        """
        self.lag.start_batch(build_in_flight_records(records))
        try:
            for pause in (*RETRY_SECONDS, None):
                self.health.heartbeat(self.name)
                self.lag.mark_attempted()
                try:
                    await self._process_batch(records, cast(AIOKafkaConsumer, message.consumer))
                    await self._mark_acked(message)
                    self._refused_appends = 0
                    return
                except REFETCH_ERRORS as error:
                    self.telemetry.record_failure()
                    if isinstance(error, ConcurrentAppend):
                        await self._pause_if_refused_again()
                    raise
                except LOG_ERRORS as error:
                    problem = str(error) if isinstance(error, EXPLAINED_ERRORS) else describe_error(error)
                    if isinstance(error, ClocksDiffer):
                        self.telemetry.record_clock_refusal()
                    self.telemetry.record_failure()
                    self.health.set_component_problem(self.name, problem)
                    self.disconnect()
                    if pause is None:
                        raise
                    LOGGER.warning("%s; retrying in %s s", problem, pause)
                    await asyncio.sleep(pause)
                except Exception:
                    LOGGER.exception("a batch cannot be filtered and is fetched again; none of it was processed")
                    self.telemetry.record_failure()
                    self.health.set_component_problem(
                        self.name, "a batch cannot be filtered and is not processed: a bug (see the log)"
                    )
                    await asyncio.sleep(RETRY_SECONDS[-1])
                    raise
        except BaseException:
            # The whole batch is fetched again, including partitions that the tracker rewound further.
            self._reset_positions()
            raise
        finally:
            self.lag.finish_batch(() if self.session is None else self.session.position_tracker.stopped)

    async def _pause_if_refused_again(self) -> None:
        """Pause longer each time that appends are refused in a row: two consumers may own a partition for a moment."""
        self._refused_appends += 1
        if self._refused_appends > 1:
            pause = RETRY_SECONDS[min(self._refused_appends - 2, len(RETRY_SECONDS) - 1)]
            if pause == RETRY_SECONDS[-1]:
                # So many in a row are no other writer's: the next one would be refused, too.
                problem = "the log refuses the same records again and again: PostgreSQL's log names the constraint"
                LOGGER.warning("%s; retrying in %s s", problem, pause)
                self.health.set_component_problem(self.name, problem)
            await asyncio.sleep(pause)

    async def _process_batch(self, records: RecordBatch, consumer: AIOKafkaConsumer) -> None:
        session, started_at = await self._ensure_connected(), time.time()
        position_tracker = session.position_tracker
        new_records, watermarks = await position_tracker.filter_new(records, consumer)
        transactions = BatchTransactions(
            session, watermarks, started_at, self.telemetry, self.lag, lambda: self.is_revoking or self.stopping
        )
        failing_records: Records = ()
        deferred_records: Records = ()
        if new_records:
            try:
                deferred_records = await transactions.process(new_records)
            except (*LOG_ERRORS, *REFETCH_ERRORS):
                raise
            except Exception:
                LOGGER.exception("a batch cannot be processed: processing its partitions one by one")
                self.telemetry.record_failure()
                new_records = [record for record in new_records if is_new(record.offset, watermarks[record.partition])]
                failing_records, deferred_records = await transactions.process_partitions(
                    new_records, (*LOG_ERRORS, *REFETCH_ERRORS)
                )
        self.telemetry.record_redeliveries(position_tracker.redelivered_count)
        self.offset_committer.commit(consumer, position_tracker.offsets_to_commit(records))
        if failing_records or self.failing_partitions:
            self.failing_partitions -= {record.partition for record in records}
            self.failing_partitions |= {record.partition for record in failing_records}
        self.health.set_component_problem(self.name, position_tracker.problem or self._describe_failing_partitions())
        self._rewind((*failing_records, *deferred_records), consumer)
        if failing_records:
            self.health.heartbeat(self.name)
            await asyncio.sleep(RETRY_SECONDS[-1])

    def _rewind(self, records: Records, consumer: AIOKafkaConsumer) -> None:
        """Seek back to these records, which were not processed; later records of their partitions follow them."""
        for partition, partition_records in group_by_partition(records).items():
            topic_partition = TopicPartition(self.commands_topic, partition)
            if topic_partition in consumer.assignment():
                consumer.seek(topic_partition, partition_records[0].offset)

    def _describe_failing_partitions(self) -> str | None:
        if not self.failing_partitions:
            return None
        partitions = ", ".join(map(str, sorted(self.failing_partitions)))
        return (
            f"partition {partitions} cannot be processed: a bug, events that newer code wrote, a key that another"
            " master key wraps, or a sequence of PostgreSQL that is behind (see the log)"
        )

    async def _mark_acked(self, message: KafkaMessage) -> None:
        """Keep FastStream from committing again and waiting for that; when stopping, wait for our own commit."""
        message.committed = AckStatus.ACKED
        if self.stopping:
            await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    async def stop(self) -> None:
        """Wait until the offsets are committed; a batch that ends later waits for its own commit."""
        self.stopping = True
        await self.offset_committer.flush(COMMIT_SECONDS_MAX)

    async def _ensure_connected(self) -> LogSession:
        if self.must_reconnect:
            self.disconnect()
            self.must_reconnect = False
        if self.session is None or self.session.connection.is_closed():
            self.session = await open_log_session(
                self.settings, self.installation, self.authorizer, self.health, self.name, self.passed_markers
            )
        self.session.processor.state_cache.bytes_max = self.cache_share.bytes_max()
        return self.session

    def disconnect(self) -> None:
        """Terminate the connection to the log; the next batch opens a new one."""
        if self.session is not None:
            self.session.connection.terminate()
        self.session = None

    def _reset_positions(self) -> None:
        if self.session is not None:
            self.session.position_tracker.reset()

    def with_heartbeat(self, poll: Poll) -> Poll:
        """Wrap a poll with a heartbeat, and with a reset of the positions after a failed fetch."""

        async def poll_with_heartbeat(consumer: AIOKafkaConsumer) -> RecordBatch:
            self.health.heartbeat(self.name)
            try:
                records: RecordBatch = await poll(failpoints.arm(consumer, "handler.consumer"))
            except Exception as error:
                self.health.set_component_problem(f"{self.name} polls", describe_error(error, "kafka"))
                self.is_poll_failing = True
                rejoin_after_failed_task(consumer)
                # An unreadable record also loses the fetched records of other partitions.
                self._reset_positions()
                self.unverified = {topic_partition.partition for topic_partition in consumer.assignment()}
                raise
            if self.is_poll_failing:
                self.is_poll_failing = False
                self.health.set_component_problem(f"{self.name} polls", None)
            if not records and self.session is not None:
                watermarks = self.session.position_tracker.known_watermarks
                await self.passed_markers.note_positions(consumer, self.commands_topic, watermarks)
            return records

        return poll_with_heartbeat
