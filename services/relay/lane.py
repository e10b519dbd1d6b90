"""One lane of the relay: take over, publish new rows of the lane's shards, give back."""

import asyncio
import logging
import time

from schemas.topics import OUTPUT_TOPICS
from services.config.base import SettingsError
from services.config.relay import RelaySettings
from services.eventlog.append_signal import AppendSignal
from services.eventlog.feed_history import FeedHistory
from services.eventlog.installation import Installation
from services.eventlog.postgres import QUERY_SECONDS_MAX, READER, HeartbeatConnection, connect
from services.kafka.relay_progress import list_lane_shards
from services.kafka.topics import describe_other_installation, full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_agreement import add_replay_end_ids
from services.publishing.record_mapper import RecordMapper
from services.publishing.topic_ends import full_topic_names, read_topic_ends
from services.relay.metrics import RelayTelemetry
from services.relay.publisher import START_SECONDS_MAX, Publisher
from services.relay.silence import AnswerWatch
from services.relay.startup_checks import (
    OperatorRequired,
    verify_log,
    verify_topics_complete,
)
from services.relay.transaction_builder import PendingTransaction, TransactionBuilder
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error, describe_unexpected_error
from services.runtime.failpoints import failpoints
from services.runtime.health import HEARTBEAT_SECONDS_MAX, Health

LOGGER = logging.getLogger("relay")
# Handlers signal each append; this bounds the delay if a signal is lost.
IDLE_SECONDS_MAX = 0.1
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
STEP_BACK_FACTOR = 6
"""For this many times its pause, other relays give no lanes to a relay that failed: it would return them at once."""
ROW_PROBLEM_SECONDS = 40.0
"""How long a relay that failed at a row is not ready while others work on the lane: longer than it steps back."""
LOG_CHECK_SECONDS = 5.0
"""How often the log's last published records are compared while the relay runs."""


class Lane:
    """One lane of one relay, started and released by the keeper of its leases.

    ``transactional.id`` fences a relay that has lost the lane and does not know it yet. ``steps_back_until``: in
    monotonic seconds; until then other relays should work on this relay's lanes, because it failed on this one.
    """

    def __init__(
        self, lane: int, installation: Installation, settings: RelaySettings, health: Health, telemetry: RelayTelemetry
    ) -> None:
        self.lane = lane
        self.name = f"lane {lane}"
        self.shards = list_lane_shards(lane, installation.shard_count)
        self.installation_id = str(installation.id)
        self.settings = settings
        self.health = health
        self.telemetry = telemetry
        self.publishing_format = PublishingFormat.from_settings(settings)
        self.problem: str | None = None
        self.task: asyncio.Task[None] | None = None
        self.is_released = False
        self.steps_back_until = 0.0
        self._answers = AnswerWatch(settings.relay_takeover_seconds)
        self._is_abandoned = False
        self._retry_at = 0.0
        self._consecutive_failures = 0
        self._row_problem_until = 0.0
        self._has_producer_failed = False
        self._log_checked_at = 0.0
        self._set_problem("starting")

    @property
    def is_running(self) -> bool:
        """Whether a session works on the lane, or is about to end."""
        return self.task is not None and not self.task.done()

    def may_start(self, now: float) -> bool:
        """Return whether the lane does not run, and a failure is long enough ago; ``now`` is in monotonic seconds."""
        return not self.is_running and now >= self._retry_at

    def is_hanging(self, now: float) -> bool:
        """Return whether PostgreSQL has not answered the lane for as long as a relay may be silent."""
        return self._answers.is_overdue(now)

    def start(self) -> None:
        """Start to work on the lane, whose lease is held."""
        self.is_released = self._is_abandoned = False
        self.task = asyncio.create_task(self._work(), name=self.name)

    def release(self) -> None:
        """Let the session end after its current transaction."""
        self.is_released = True

    def check_ended(self) -> None:
        """Raise what ended the session if no retry follows: an interrupt of the process, or a cancellation."""
        if self.task is not None:
            if self.task.cancelled():
                raise RuntimeError(f"{self.name} was cancelled from within")
            self.task.result()

    def abandon(self) -> None:
        """End the session of a lane that hangs, and let other relays work until its query would have timed out."""
        if self.task is not None:
            self._is_abandoned = True
            self.task.cancel()

    async def stop(self) -> None:
        """End the session now; an open transaction is aborted by the lane's next relay."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def stand_by(self) -> None:
        """Stand by, and be ready, while another relay works on the lane.

        A relay that has failed at a row of it is ready again only some time after: the other one may fail there, too.
        """
        if time.monotonic() >= self._row_problem_until:
            self._clear_problem()
        self.telemetry.mark_standby(self.lane)

    async def _work(self) -> None:
        """Relay until released or failed; a failure is retried after a pause, unless another relay does before."""
        try:
            await self._run_session()
            self.stand_by()
        except INFRASTRUCTURE_ERRORS as error:
            pause = RETRY_SECONDS[min(self._consecutive_failures, len(RETRY_SECONDS) - 1)]
            self._set_problem(describe_error(error))
            LOGGER.warning("%s; retrying in %s s", self.problem, pause, extra={"lane": self.lane})
            self._step_back(pause)
        except asyncio.CancelledError:
            if not self._is_abandoned:
                raise
            self._set_problem("PostgreSQL did not answer in time; other relays take over")
            self._step_back(RETRY_SECONDS[-1])
            self.steps_back_until = time.monotonic() + QUERY_SECONDS_MAX
        except (OperatorRequired, SettingsError) as error:  # SettingsError: a key that another master key wraps.
            if self.problem != str(error):
                LOGGER.error("%s", error, extra={"lane": self.lane})
            self._stop_at_row(str(error))
        except Exception as error:
            # A row that cannot be read or mapped: the rows of other lanes can.
            problem = (
                f"{self.name} cannot publish its next records: {describe_unexpected_error(error)}. They wait, and the"
                " log of this process says where it failed"
            )
            if self.problem != problem:
                LOGGER.exception("%s", problem, extra={"lane": self.lane})
            self._stop_at_row(problem)
        finally:
            self.health.forget(self.name)

    def _stop_at_row(self, problem: str) -> None:
        """Retry after a pause. Other relays may try before, but only after the first failure.

        If they fail, too, stepping back further would keep this one from taking over the lanes of a relay that hangs.
        """
        pause = RETRY_SECONDS[-1]
        if self.problem != problem:
            self._step_back(pause)
        self._set_problem(problem)
        self._retry_at = time.monotonic() + pause
        self._row_problem_until = time.monotonic() + ROW_PROBLEM_SECONDS

    def _step_back(self, pause: float) -> None:
        self._consecutive_failures += 1
        self._retry_at = time.monotonic() + pause
        self.steps_back_until = time.monotonic() + STEP_BACK_FACTOR * pause

    def _set_problem(self, problem: str | None) -> None:
        self.problem = problem
        self.health.set_component_problem(self.name, problem)

    def _clear_problem(self) -> None:
        """Be ready. After a failure at a row only once rows were read and published: it may be the next one."""
        self._row_problem_until = 0.0
        if self.problem is not None:
            self._set_problem(None)

    async def _run_session(self) -> None:
        self.health.heartbeat(self.name)
        async with failpoints.around("relay.connect"):
            connection = await connect(self.settings.url(), "relay", READER)
        connection.heartbeat = self._note_query
        try:
            if self.is_released:  # To start a producer now would fence the lane's next relay.
                return
            history = failpoints.arm(FeedHistory(connection), "relay.log")
            publisher = Publisher(self.settings.kafka_bootstrap, self.settings.topic_prefix, self.lane)
            if self._has_producer_failed:
                self.telemetry.metrics.producers_recreated.inc()
            self._has_producer_failed = True
            self.health.heartbeat(self.name, START_SECONDS_MAX + HEARTBEAT_SECONDS_MAX)
            try:
                builder = await self._take_over(publisher, history)
                LOGGER.info("publishing has started", extra={"lane": self.lane})
                if not self._row_problem_until:
                    self._clear_problem()
                await self._relay_transactions(builder, publisher, history, connection)
                self._has_producer_failed = False
            finally:
                self.telemetry.mark_inactive(self.lane)
                await publisher.close()
        finally:
            connection.terminate()

    def _note_query(self, *seconds: float) -> None:
        """Note the beginning or the end of a query: the heartbeat of HeartbeatConnection."""
        self.health.heartbeat(self.name, *seconds)
        # A batch may need a query for each of a thousand courses.
        self._answers.note_answer()

    async def _take_over(self, publisher: Publisher, history: FeedHistory) -> TransactionBuilder:
        """Continue from the stored progress, if the log and the topics agree with it."""
        prefix = self.settings.topic_prefix
        progress = await publisher.start()
        self.health.heartbeat(self.name)
        if progress is None:
            raise OperatorRequired(
                f"{full_topic_name(prefix, 'progress')} holds no record of lane {self.lane}; nothing was published."
                " To continue after what the topics hold, or to publish everything again, stop all relays and run:"
                " moderated-grading admin rewind topics|start"
            )
        if progress.installation != self.installation_id:
            raise OperatorRequired(describe_other_installation(prefix, progress.installation, self.installation_id))
        topic_names = full_topic_names(prefix, OUTPUT_TOPICS)
        async with failpoints.around("relay.read_topic_ends"):
            ends = await read_topic_ends(self.settings.kafka_bootstrap, history, topic_names, self.shards)
        with self._answers.awaited():
            async with failpoints.around("relay.verify_log"):
                await verify_log(progress, history, ends)
                progress = await add_replay_end_ids(history.connection, progress)
        verify_topics_complete(progress, ends)
        self._log_checked_at = time.monotonic()
        self.telemetry.mark_active(self.lane, progress)
        positions = [progress.sequences["events"][shard] for shard in self.shards]
        with self._answers.awaited():
            live_numbers = dict(zip(self.shards, await history.live_numbers_at(self.shards, positions), strict=True))
        return TransactionBuilder(history, RecordMapper(history, self.publishing_format), progress, live_numbers)

    async def _relay_transactions(
        self,
        builder: TransactionBuilder,
        publisher: Publisher,
        history: FeedHistory,
        connection: HeartbeatConnection,
    ) -> None:
        """Publish one transaction after another until released."""
        signal = AppendSignal(self.shards)
        async with failpoints.around("relay.listen"):
            await signal.listen(connection)
        pending: PendingTransaction | None = None
        while not self.is_released:
            self.health.heartbeat(self.name)
            if time.monotonic() >= self._log_checked_at + LOG_CHECK_SECONDS:
                # A proxy may hide a failover that lost commits, and new rows the loss. Pending rows are of the log.
                with self._answers.awaited():
                    async with failpoints.around("relay.verify_log"):
                        await verify_log(builder.progress, history)
                self._log_checked_at = time.monotonic()
            signal.clear()
            if pending is None:
                with self._answers.awaited():
                    pending = await builder.next()
            if pending is None:
                self._clear_problem()
                await signal.wait(IDLE_SECONDS_MAX)
                continue
            # Read and map the next rows while the broker commits.
            next_task = asyncio.create_task(builder.next_if_full())
            try:
                await self._publish(publisher, pending)
                self._clear_problem()
                with self._answers.awaited():
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
        self._consecutive_failures, self.steps_back_until = 0, 0.0
        self.telemetry.record_transaction(self.lane, pending, started_at)
