"""Replays parts of the log to other topics in the background, and resumes after a restart."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.config.console import ConsoleSettings
from services.eventlog.feed_history import LogFilter
from services.eventlog.feeds import FeedReader
from services.eventlog.operator_actions import list_actions
from services.eventlog.postgres import READER, Pool, connect
from services.kafka.topics import TopicConfigError
from services.publishing.cloudevents import PublishingFormat
from services.publishing.replayer import ReplayProgress, ReplayRefused, ReplayRequest, replay
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

LOGGER = logging.getLogger("console")
RETRY_SECONDS = 5.0
RESUME_WINDOW = timedelta(days=1)
REPLAYS_MAX = 200


@dataclass(slots=True)
class ReplayJob:
    """A replay that an operator requested; ``is_done``: the topic is complete."""

    action_id: UUID
    request: ReplayRequest
    progress: ReplayProgress = ReplayProgress(0, 0, 0)
    is_done: bool = False
    problem: str | None = None


def request_to_detail(request: ReplayRequest) -> dict[str, Any]:
    """Convert a request to the detail that is stored with its action."""
    log_filter = request.log_filter
    filters = {name: getattr(log_filter, name) for name in log_filter.__slots__}
    filter_texts = {name: part.isoformat() if isinstance(part, datetime) else part for name, part in filters.items()}
    detail = {"output": request.output, "target": request.target, **filter_texts, "per_second": request.per_second}
    return {name: part for name, part in detail.items() if part is not None}


def request_from_detail(detail: Mapping[str, Any]) -> ReplayRequest:
    """Convert a stored detail back, see :func:`request_to_detail`."""
    since, until = (datetime.fromisoformat(detail[name]) if name in detail else None for name in ("since", "until"))
    log_filter = LogFilter(detail.get("root_account"), detail.get("course"), detail.get("assignment"), since, until)
    return ReplayRequest(detail["output"], detail["target"], log_filter, detail.get("per_second"))


class ReplayJobs:
    """Runs the requested replays; after a restart it continues those of the last day."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self.jobs: dict[UUID, ReplayJob] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def resume(self, pool: Pool) -> None:
        """Continue the replays that were requested before this process started; retry until PostgreSQL answers."""
        while True:
            with contextlib.suppress(*INFRASTRUCTURE_ERRORS):
                since = datetime.now(UTC) - RESUME_WINDOW
                for action in await list_actions(pool, None, REPLAYS_MAX, kind="replay", since=since):
                    request = request_from_detail(json.loads(action.detail))
                    # A replay without an end time belongs to a command line: continuing it here would add new records.
                    if request.log_filter.until is not None:
                        self.start(action.id, request)
                return
            await asyncio.sleep(RETRY_SECONDS)

    def start(self, action_id: UUID, request: ReplayRequest) -> None:
        """Start a replay unless it is running."""
        if action_id not in self._tasks:
            self.jobs[action_id] = ReplayJob(action_id, request)
            self._tasks[action_id] = asyncio.create_task(self._run(self.jobs[action_id]))

    def stop(self) -> None:
        """Cancel running replays; the next start continues them."""
        for task in self._tasks.values():
            task.cancel()

    async def _run(self, job: ReplayJob) -> None:
        while not job.is_done:
            try:
                await self._emit(job)
            except (ReplayRefused, TopicConfigError, ValueError) as error:
                job.problem = str(error)
                return
            except INFRASTRUCTURE_ERRORS as error:
                job.problem = describe_error(error)
                LOGGER.warning("replay delayed, retrying: %s", job.problem)
                await asyncio.sleep(RETRY_SECONDS)

    async def _emit(self, job: ReplayJob) -> None:
        connection = await connect(self.settings.url(), "replay", READER)
        try:
            if not await FeedReader(connection).try_lock(f"replay {job.action_id}"):
                job.problem = "another console is running this replay"
                await asyncio.sleep(RETRY_SECONDS)
                return
            publishing_format = PublishingFormat.from_settings(self.settings)
            async with aclosing(
                replay(self.settings.kafka_bootstrap, connection, publishing_format, job.request)
            ) as updates:
                async for progress in updates:
                    job.progress, job.problem = progress, None
            job.is_done, job.problem = True, None
        finally:
            connection.terminate()
