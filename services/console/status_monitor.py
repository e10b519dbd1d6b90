"""The console's eye: follows the log, the commands topic and the relay's progress, and says how things stand."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

from services.console.group_members import GroupMembers
from services.console.kafka_probe import KafkaProbe
from services.console.pipeline_status import PartitionStatus, PipelineStatus, PublicationStatus, TopicProblem
from services.console.publication_rate import PublicationRates
from services.console.topic_integrity import TopicIntegrityCheck
from services.console.verdict_stats import VerdictStats
from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.feed_history import FeedHistory
from services.eventlog.pipeline_queries import PipelineQueries, TopicLag
from services.eventlog.postgres import Pool
from services.kafka.relay_progress import RelayProgress
from services.runtime.background_tasks import run_until_first_failure
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.health import Health
from services.telemetry.consumer_lag import LagWindow

LOGGER = logging.getLogger("console")
LOG_POLL_SECONDS = 0.2
LAG_POLL_SECONDS = 1.0
GROUP_POLL_SECONDS = 2.0
TOPIC_CHECK_SECONDS = 5.0
RETRY_SECONDS = 1.0
ROWS_PER_SHARD_MAX = 1_000
PUBLICATIONS_MAX = 50
STOPPED_AFTER_SECONDS = 60
# A question that takes long is asked the more seldom.
IDLE_PER_QUERY_SECOND = 20


class StatusMonitor:
    """``now``: how things stand; ``version`` grows with each change of it. ``tally``: the verdicts, counted.

    ``clock``: how far PostgreSQL's clock is ahead of ours.
    """

    def __init__(self, pool: Pool, bootstrap: str, prefix: str, health: Health) -> None:
        self.queries = PipelineQueries(pool)
        self.dead_letter_reader = DeadLetterReader(pool)
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.verdict_stats = VerdictStats()
        self.status = PipelineStatus(problems=("The console is starting",))
        self.version = 0
        self.health = health
        self.progress: RelayProgress | None = None
        self._changed = asyncio.Event()
        self.clock_offset = timedelta()
        self._partitions: tuple[PartitionStatus, ...] = ()
        self._lag_windows: dict[int, LagWindow] = {}
        self._outputs: tuple[TopicLag, ...] = ()
        self._publications: tuple[PublicationStatus, ...] = ()
        self._integrity_check = TopicIntegrityCheck(bootstrap, prefix)
        self._topic_problems: tuple[TopicProblem, ...] = ()
        self._publication_rates = PublicationRates()
        self._open_dead_letters: tuple[int, datetime | None] = (0, None)
        self._next_count_at = 0.0
        self._is_catching_up = True

    async def run(self) -> None:
        """Watch until cancelled."""
        await run_until_first_failure(self._follow_log(), self._follow_kafka())

    async def wait_for_change(self, version: int, seconds: float) -> bool:
        """Wait until ``now`` is newer than a version; False where it is not in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.version == version:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _publish_status(self) -> None:
        at = datetime.now(UTC) + self.clock_offset
        self.health.heartbeat("watch")
        status = PipelineStatus(
            at=at,
            decided=self.verdict_stats.decided,
            rejected=self.verdict_stats.rejected(at),
            throughput=self.verdict_stats.throughput(at),
            p50=self.verdict_stats.latency(at, 0.5),
            p99=self.verdict_stats.latency(at, 0.99),
            partitions=self._partitions,
            outputs=self._outputs,
            publications=self._publications,
            recent_verdicts=tuple(self.verdict_stats.recent_verdicts),
            open_dead_letters=self._open_dead_letters[0],
            oldest_dead_letter=self._open_dead_letters[1],
            problems=tuple(self.health.server_problems.values()),
            topic_problems=self._topic_problems,
            is_catching_up=self._is_catching_up,
        )
        self.status = status
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _report_server(self, name: str, problem: str | None) -> None:
        if problem != self.health.server_problems.get(name):
            LOGGER.log(logging.WARNING if problem else logging.INFO, "%s", problem or f"{name} answers again")
        self.health.set_server_problem(name, problem)

    async def _follow_log(self) -> None:
        while True:
            started_at = time.monotonic()
            try:
                is_behind = self._is_catching_up = await self._poll_log()
                self._report_server("postgresql", None)
                self.health.problem = None
            except POSTGRES_ERRORS as error:
                self._report_server("postgresql", describe_error(error))
                is_behind = False
            self._publish_status()
            await asyncio.sleep(0 if is_behind else max(LOG_POLL_SECONDS - (time.monotonic() - started_at), 0.05))

    async def _poll_log(self) -> bool:
        """One look at the log; True where more waits to be read."""
        new_verdicts = await self.queries.verdicts_after(self.verdict_stats.last_numbers, ROWS_PER_SHARD_MAX)
        self.verdict_stats.add(new_verdicts)
        self.clock_offset = await self.queries.database_time() - datetime.now(UTC)
        if self.progress is not None:
            self._outputs = tuple(await self.queries.topic_lags(self.progress))
            live_events = next(output for output in self._outputs if output.topic == "live-events")
            publications = (
                await self.queries.unfinished_publications(self.progress, PUBLICATIONS_MAX)
                if live_events.waiting
                else []
            )
            self._publications = self._publication_rates.update(publications)
        count_started_at = time.monotonic()
        if count_started_at >= self._next_count_at:
            self._open_dead_letters = await self.dead_letter_reader.count_open()
            count_ended_at = time.monotonic()
            self._next_count_at = count_ended_at + IDLE_PER_QUERY_SECOND * (count_ended_at - count_started_at)
        return len(new_verdicts) >= ROWS_PER_SHARD_MAX

    async def _follow_kafka(self) -> None:
        while True:
            probe, group_members = KafkaProbe(self.bootstrap, self.prefix), GroupMembers(self.bootstrap, self.prefix)
            try:
                await probe.start()
                await group_members.start()
                self.progress = await probe.read_latest_progress()
                await run_until_first_failure(
                    self._follow_progress(probe),
                    self._follow_lag(probe, group_members),
                    self._follow_group_members(group_members),
                    self._check_topics(probe),
                )
            except KAFKA_ERRORS as error:
                self._report_server("kafka", describe_error(error, "kafka"))
            finally:
                await probe.stop()
                await group_members.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow_progress(self, probe: KafkaProbe) -> None:
        while True:
            self.progress = await probe.poll_progress() or self.progress

    async def _follow_group_members(self, group_members: GroupMembers) -> None:
        while True:
            await group_members.refresh()
            await asyncio.sleep(GROUP_POLL_SECONDS)

    async def _check_topics(self, probe: KafkaProbe) -> None:
        history = FeedHistory(self.queries.connection)
        while True:
            try:
                self._topic_problems = await self._integrity_check.check(probe, history)
            except POSTGRES_ERRORS as error:
                # That PostgreSQL is away says whoever follows the log; the last that was seen stands meanwhile.
                if isinstance(error, TimeoutError) and "postgresql" not in self.health.server_problems:
                    raise
            await asyncio.sleep(TOPIC_CHECK_SECONDS)

    async def _follow_lag(self, probe: KafkaProbe, group_members: GroupMembers) -> None:
        while True:
            started_at = time.monotonic()
            try:
                watermarks = await self.queries.watermarks(probe.commands_topic, probe.partitions)
            except POSTGRES_ERRORS:
                watermarks = None  # Said by whoever follows the log.
            if watermarks is not None:
                lag = await probe.read_lag(watermarks)
                self._partitions = tuple(
                    self._build_partition_status(
                        partition, watermarks[partition], *lag[partition], group_members.get_owner(partition)
                    )
                    for partition in sorted(lag)
                )
            self._report_server("kafka", None)
            await asyncio.sleep(max(LAG_POLL_SECONDS - (time.monotonic() - started_at), 0.1))

    def _build_partition_status(
        self, partition: int, watermark: int, lag: int, first_appended: int | None, owner: str | None
    ) -> PartitionStatus:
        lag_window, oldest_seconds = self._lag_windows.setdefault(partition, LagWindow()), 0.0
        lag_window.add(time.monotonic(), watermark + 1, watermark + 1 + lag)
        if first_appended is not None:
            at = datetime.now(UTC) + self.clock_offset
            oldest_seconds = max(at.timestamp() - first_appended / 1_000, 0.0)
        state = lag_window.state(attempted=oldest_seconds < STOPPED_AFTER_SECONDS)
        return PartitionStatus.from_lag(partition, watermark, lag, oldest_seconds, state, owner)
