"""Polls the log, the commands topic and the relay's progress, and builds the pipeline's status."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.console.foreign_records import ForeignRecordWatch
from services.console.group_members import GroupMembers
from services.console.kafka_probe import KafkaProbe
from services.console.partition_sampler import PartitionSampler
from services.console.pipeline_status import STARTING, PipelineStatus, PublicationStatus, TopicProblem
from services.console.publication_rate import PublicationRates
from services.console.topic_integrity import TopicIntegrityCheck
from services.console.verdict_stats import VerdictStats
from services.eventlog.dead_letter_count import DeadLetterCounter
from services.eventlog.feed_history import EVERYTHING, FeedHistory
from services.eventlog.pipeline_queries import PipelineQueries, TopicLag
from services.eventlog.postgres import Pool
from services.eventlog.process_sessions import ProcessActivity, read_last_decisions, read_process_activity
from services.kafka.relay_progress import RelayProgress
from services.kafka.timeouts import kafka_timeout
from services.kafka.topics import TopicConfigError, full_topic_name, verify_topics
from services.runtime.background_tasks import run_until_first_failure
from services.runtime.errors import KAFKA_CLIENT_ERRORS, KAFKA_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.health import Health

LOGGER = logging.getLogger("console")
LOG_POLL_SECONDS = 0.2
LAG_POLL_SECONDS = 1.0
GROUP_POLL_SECONDS = 2.0
PROCESS_POLL_SECONDS = 2.0
TOPIC_CHECK_SECONDS = 5.0
RETRY_SECONDS = 1.0
# poll_once() is for a terminal: it samples faster and does not wait until Kafka's client gives up.
ONCE_SAMPLE_SECONDS = 0.2
ONCE_KAFKA_SECONDS_MAX = 10
ROWS_PER_SHARD_MAX = 1_000
PUBLICATIONS_MAX = 50


class StatusMonitor:
    """Keeps the current status; ``version`` grows with each change of it.

    ``clock_offset`` is how far PostgreSQL's clock is ahead of this process's.
    """

    def __init__(self, pool: Pool, bootstrap: str, prefix: str, health: Health) -> None:
        self._pool = pool
        self.queries = PipelineQueries(pool)
        self.dead_letter_counter = DeadLetterCounter()
        self.history = FeedHistory(pool)
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.verdict_stats = VerdictStats()
        self.status = PipelineStatus(problems=(STARTING,))
        self.version = 0
        self.health = health
        self.progress: RelayProgress | None = None
        self.clock_offset = timedelta()
        self._changed = asyncio.Event()
        self._partition_sampler = PartitionSampler()
        self._outputs: tuple[TopicLag, ...] = ()
        self._publications: tuple[PublicationStatus, ...] = ()
        self._integrity_check = TopicIntegrityCheck(bootstrap, prefix)
        self._topic_problems: tuple[TopicProblem, ...] = ()
        self._foreign_record_watch = ForeignRecordWatch(bootstrap, prefix)
        self._publication_rates = PublicationRates()
        self._activity = ProcessActivity()
        self._last_decisions: Mapping[int, datetime] = {}
        self._lanes: list[int] = []
        self._is_catching_up = True

    async def run(self) -> None:
        """Poll until cancelled."""
        await run_until_first_failure(
            self._follow_log(), self._follow_dead_letters(), self._follow_kafka(), self._follow_processes()
        )

    async def wait_for_change(self, version: int, seconds: float) -> bool:
        """Wait until the status is newer than ``version``; return False after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while self.version == version:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def poll_once(self) -> PipelineStatus:
        """Read the status once, without throughput, latencies and recent verdicts, which need the whole log.

        The status lists servers that do not answer. While commands wait, this takes the two seconds that are needed to
        see whether partitions move.
        """
        probe, group_members = KafkaProbe(self.bootstrap, self.prefix), GroupMembers(self.bootstrap, self.prefix)
        decided, shard_count = 0, None
        try:
            # If PostgreSQL does not answer, the queries below report it.
            with contextlib.suppress(*POSTGRES_ERRORS):
                shard_count = len(await self.history.shards(EVERYTHING))
            try:
                async with kafka_timeout(ONCE_KAFKA_SECONDS_MAX, "connecting"):
                    if shard_count is not None:
                        await verify_topics(self.bootstrap, self.prefix, shard_count)
                    await self._connect(probe, group_members)
                    await group_members.refresh()
            except TopicConfigError as error:
                self.health.set_server_problem("kafka", str(error))
            except KAFKA_ERRORS as error:
                self.health.set_server_problem("kafka", describe_error(error, "kafka"))
            try:
                decided = sum((await self.history.heads(await self.history.shards(EVERYTHING)))["verdicts"])
                await self._poll_backlog()
                with contextlib.suppress(TimeoutError):  # The status says that they are not counted.
                    await self.dead_letter_counter.count_when_due(self._pool)
                if "kafka" not in self.health.server_problems:
                    await self._sample_until_conclusive(probe, group_members)
                    self._topic_problems = await self._integrity_check.check_until_confirmed(probe, self.history)
            except KAFKA_CLIENT_ERRORS as error:
                self.health.set_server_problem("kafka", describe_error(error))
            except POSTGRES_ERRORS as error:
                self.health.set_server_problem("postgresql", describe_error(error))
        finally:
            await probe.stop()
            await group_members.stop()
        self._is_catching_up = False
        return replace(self._build_status(), decided=decided)

    async def _sample_until_conclusive(self, probe: KafkaProbe, group_members: GroupMembers) -> None:
        while True:
            watermarks = await self.queries.watermarks(probe.commands_topic, probe.partitions)
            await self._sample_partitions(probe, group_members, watermarks)
            if self._partition_sampler.is_conclusive:
                return
            await asyncio.sleep(ONCE_SAMPLE_SECONDS)

    def _build_status(self) -> PipelineStatus:
        at = datetime.now(UTC) + self.clock_offset
        open_dead_letters, oldest_dead_letter = self.dead_letter_counter.last_count or (None, None)
        return PipelineStatus(
            at=at,
            decided=self.verdict_stats.decided,
            rejected=self.verdict_stats.rejected(at),
            throughput=self.verdict_stats.throughput(at),
            p50=self.verdict_stats.latency(at, 0.5),
            p99=self.verdict_stats.latency(at, 0.99),
            partitions=self._partition_sampler.partitions,
            outputs=self._outputs,
            publications=self._publications,
            recent_verdicts=tuple(self.verdict_stats.recent_verdicts),
            open_dead_letters=open_dead_letters,
            oldest_dead_letter=oldest_dead_letter,
            problems=tuple(self.health.server_problems.values()),
            topic_problems=self._topic_problems,
            foreign_records=self._foreign_record_watch.found(),
            is_catching_up=self._is_catching_up,
            activity=self._activity,
            last_decisions=self._last_decisions,
        )

    def _publish_status(self) -> None:
        self.health.heartbeat("watch")
        self.status = self._build_status()
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
        """Read new rows of the log; return whether there are more."""
        new_verdicts = await self.queries.verdicts_after(self.verdict_stats.last_numbers, ROWS_PER_SHARD_MAX)
        self.verdict_stats.add(new_verdicts)
        await self._poll_backlog()
        return len(new_verdicts) >= ROWS_PER_SHARD_MAX

    async def _poll_backlog(self) -> None:
        """Read how many rows are not on the topics yet."""
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

    async def _follow_dead_letters(self) -> None:
        """Count open dead letters, apart from what shows whether PostgreSQL answers: a count may take long."""
        while True:
            try:
                await self.dead_letter_counter.count_when_due(self._pool)
            except TimeoutError:
                LOGGER.warning("open dead letters cannot be counted, the last count stays: TimeoutError")
            except POSTGRES_ERRORS:
                pass  # _follow_log reports PostgreSQL outages; the last count stays.
            await asyncio.sleep(LOG_POLL_SECONDS)

    async def _follow_kafka(self) -> None:
        while True:
            probe, group_members = KafkaProbe(self.bootstrap, self.prefix), GroupMembers(self.bootstrap, self.prefix)
            try:
                await self._connect(probe, group_members)
                await run_until_first_failure(
                    self._follow_progress(probe),
                    self._follow_lag(probe, group_members),
                    self._follow_group_members(group_members),
                    self._check_topics(probe),
                    self._foreign_record_watch.run(),
                )
            except KAFKA_ERRORS as error:
                self._report_server("kafka", describe_error(error, "kafka"))
            finally:
                await probe.stop()
                await group_members.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _connect(self, probe: KafkaProbe, group_members: GroupMembers) -> None:
        await probe.start()
        await group_members.start()
        self._lanes = probe.lanes
        self.progress = await probe.read_latest_progress()

    async def _follow_processes(self) -> None:
        while True:
            # _follow_log reports PostgreSQL outages; keep what is known last.
            with contextlib.suppress(*POSTGRES_ERRORS):
                self._activity = await read_process_activity(self._pool, self.prefix, self._lanes)
                partitions = [partition.number for partition in self._partition_sampler.partitions]
                topic = full_topic_name(self.prefix, "commands")
                self._last_decisions = await read_last_decisions(self._pool, topic, partitions)
            await asyncio.sleep(PROCESS_POLL_SECONDS)

    async def _follow_progress(self, probe: KafkaProbe) -> None:
        while True:
            self.progress = await probe.poll_progress() or self.progress

    async def _follow_group_members(self, group_members: GroupMembers) -> None:
        while True:
            await group_members.refresh()
            await asyncio.sleep(GROUP_POLL_SECONDS)

    async def _check_topics(self, probe: KafkaProbe) -> None:
        while True:
            try:
                self._topic_problems = await self._integrity_check.check(probe, self.history)
            except KAFKA_CLIENT_ERRORS:
                raise
            except POSTGRES_ERRORS:
                pass  # _follow_log reports PostgreSQL outages; keep the last known result.
            await asyncio.sleep(TOPIC_CHECK_SECONDS)

    async def _follow_lag(self, probe: KafkaProbe, group_members: GroupMembers) -> None:
        while True:
            started_at = time.monotonic()
            try:
                watermarks = await self.queries.watermarks(probe.commands_topic, probe.partitions)
            except POSTGRES_ERRORS:
                pass  # _follow_log reports PostgreSQL outages; keep the last known partitions.
            else:
                await self._sample_partitions(probe, group_members, watermarks)
            self._report_server("kafka", None)
            await asyncio.sleep(max(LAG_POLL_SECONDS - (time.monotonic() - started_at), 0.1))

    async def _sample_partitions(
        self, probe: KafkaProbe, group_members: GroupMembers, watermarks: Mapping[int, int]
    ) -> None:
        lags = await probe.read_lag(watermarks)
        self._partition_sampler.add(datetime.now(UTC) + self.clock_offset, watermarks, lags, group_members)
