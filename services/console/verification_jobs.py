"""Verifies the output topics against the log in the background, one after the other."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

from services.config.console import ConsoleSettings
from services.eventlog.feed_history import FeedHistory
from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.postgres import READER, connect
from services.kafka.topics import full_topic_name
from services.publishing.cloudevents import PublishingFormat
from services.publishing.log_comparison import LogComparison
from services.publishing.record_mapper import RecordMapper
from services.publishing.verification_report import VerificationReport
from services.publishing.verifier import TopicNotFound, verify
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error


@dataclass(slots=True)
class VerificationJob:
    """The verification of one topic: progress in offsets while it runs, and the last result."""

    topic: str
    output: str
    is_running: bool = False
    offsets_read: int = 0
    offsets_total: int = 0
    checked_at: datetime | None = None
    result: VerificationReport | None = None
    problem: str | None = None


class VerificationJobs:
    """Verifies all output topics on request. Results are kept in memory."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        topic_names = {output: full_topic_name(settings.topic_prefix, output) for output in FEED_BY_TOPIC}
        self.jobs_by_topic = {name: VerificationJob(name, output) for output, name in topic_names.items()}
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Return whether a verification is running."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Start verifying all topics unless a verification is running."""
        if not self.is_running:
            self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        """Cancel a running verification."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        for job in self.jobs_by_topic.values():
            job.is_running, job.offsets_read, job.offsets_total, job.problem = True, 0, 0, None
            try:
                job.result = await self._verify(job)
                job.checked_at = datetime.now(UTC)
            except TopicNotFound as error:
                job.problem = str(error)
            except INFRASTRUCTURE_ERRORS as error:
                job.problem = describe_error(error)
            finally:
                job.is_running = False

    async def _verify(self, job: VerificationJob) -> VerificationReport:
        connection = await connect(self.settings.url(), "verify", READER)
        try:
            record_mapper = RecordMapper(FeedReader(connection), PublishingFormat.from_settings(self.settings))
            comparison = LogComparison(job.output, history=FeedHistory(connection), record_mapper=record_mapper)

            def on_progress(_: str, read: int, total: int) -> None:
                job.offsets_read, job.offsets_total = read, total

            bootstrap = self.settings.kafka_bootstrap
            return await verify(bootstrap, job.topic, job.output, comparison, on_progress=on_progress)
        finally:
            await connection.close()
