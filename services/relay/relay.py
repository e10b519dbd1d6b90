"""The relay's loop: stand by, take over, publish new rows of the log."""

import asyncio
import functools
import logging
import time
from typing import NoReturn

from schemas.topics import OUTPUT_TOPICS
from services.config import RelaySettings
from services.eventlog.feed_history import FeedHistory
from services.eventlog.postgres import READER, connect
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.record_mapper import RecordMapper
from services.publishing.topic_ends import full_topic_names, read_topic_ends
from services.relay.metrics import RelayTelemetry
from services.relay.publisher import START_SECONDS_MAX, Publisher, lock_name
from services.relay.startup_checks import (
    OperatorRequired,
    fill_missing_outputs,
    mark_replays_for_new_topics,
    verify_consistent,
)
from services.relay.transaction_builder import PendingTransaction, TransactionBuilder
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import HEARTBEAT_SECONDS_MAX, Health

LOGGER = logging.getLogger("relay")
IDLE_SECONDS = (0.005, 0.010, 0.025)
STANDBY_SECONDS = 0.25
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Relay:
    """One relay process. Only the holder of the lock is active; ``transactional.id`` fences one that was paused."""

    def __init__(self, settings: RelaySettings, health: Health, telemetry: RelayTelemetry) -> None:
        self.settings = settings
        self.health = health
        self.telemetry = telemetry
        self.publishing_format = PublishingFormat.from_settings(settings)
        self._consecutive_failures = 0

    async def run(self) -> NoReturn:
        """Relay until cancelled. Retry when a server fails; report what needs an operator, and wait for it."""
        while True:
            try:
                await self._run_session()
            except INFRASTRUCTURE_ERRORS as error:
                pause = RETRY_SECONDS[min(self._consecutive_failures, len(RETRY_SECONDS) - 1)]
                self.health.problem = describe_error(error)
                LOGGER.warning("%s; again in %s s", self.health.problem, pause)
                self._consecutive_failures += 1
            except OperatorRequired as error:
                if self.health.problem != str(error):
                    LOGGER.error("%s", error)
                self.health.problem = str(error)
                pause = RETRY_SECONDS[-1]
            await asyncio.sleep(pause)

    async def _run_session(self) -> NoReturn:
        async with failpoints.around("relay.connect"):
            connection = await connect(self.settings.url(), "relay", READER)
        connection.heartbeat = functools.partial(self.health.heartbeat, "relay")
        try:
            history = failpoints.arm(FeedHistory(connection), "relay.log")
            self.health.heartbeat("relay")
            while not await history.try_lock(lock_name(self.settings.topic_prefix)):
                self.health.problem = None  # A standby relay is ready.
                self.telemetry.mark_standby()
                self.health.heartbeat("relay")
                await asyncio.sleep(STANDBY_SECONDS)
            publisher = Publisher(self.settings.kafka_bootstrap, self.settings.topic_prefix)
            self.telemetry.record_new_producer()
            self.health.heartbeat("relay", START_SECONDS_MAX + HEARTBEAT_SECONDS_MAX)
            try:
                builder = await self._take_over(publisher, history)
                LOGGER.info("relaying")
                self.health.problem = None
                await self._relay_transactions(builder, publisher)
            finally:
                self.telemetry.mark_inactive()
                await publisher.close()
        finally:
            connection.terminate()

    async def _take_over(self, publisher: Publisher, history: FeedHistory) -> TransactionBuilder:
        """Continue from the stored progress, if the log and the topics agree with it."""
        topic_names = full_topic_names(self.settings.topic_prefix, OUTPUT_TOPICS)
        stored_progress = await publisher.start()
        self.health.heartbeat("relay")
        if stored_progress is None:
            raise OperatorRequired(
                f"{full_topic_name(self.settings.topic_prefix, 'progress')} holds no record; nothing was published."
                " To continue after what the topics hold, or to publish everything again, stop all relays and run:"
                " moderated-grading admin rewind topics|start"
            )
        async with failpoints.around("relay.read_topic_ends"):
            ends = await read_topic_ends(self.settings.kafka_bootstrap, history, topic_names)
        progress = await fill_missing_outputs(stored_progress[0], history, ends)
        progress = await mark_replays_for_new_topics(progress, stored_progress[1], history)
        verify_consistent(progress, await history.heads(ALL_SHARDS), ends)
        self.telemetry.mark_active(progress)
        live_numbers = await history.live_numbers_at(ALL_SHARDS, progress.sequences["events"])
        return TransactionBuilder(history, RecordMapper(history, self.publishing_format), progress, live_numbers)

    async def _relay_transactions(self, builder: TransactionBuilder, publisher: Publisher) -> NoReturn:
        idle_rounds = 0
        pending: PendingTransaction | None = None
        while True:
            self.health.heartbeat("relay")
            pending = pending or await builder.next()
            if pending is None:
                await asyncio.sleep(IDLE_SECONDS[min(idle_rounds, len(IDLE_SECONDS) - 1)])
                idle_rounds += 1
                continue
            idle_rounds = 0
            # Read and map the next rows while the broker commits.
            next_task = asyncio.create_task(builder.next_if_full())
            try:
                await self._publish(publisher, pending)
                pending = await next_task
            finally:
                next_task.cancel()
                await asyncio.gather(next_task, return_exceptions=True)

    async def _publish(self, publisher: Publisher, pending: PendingTransaction) -> None:
        started_at = time.monotonic()
        try:
            await publisher.publish(pending.records, pending.previous_progress, pending.progress)
        except BaseException as error:
            self.telemetry.record_failure(error)
            raise
        self._consecutive_failures = 0
        self.telemetry.record_transaction(pending.rows, pending.records, pending.progress, started_at)
