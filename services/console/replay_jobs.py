"""Replay parts of the log to other topics in the background, and resume after a restart."""

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

from services.config import ConsoleSettings
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
    """One that an operator ordered. ``step``: how far it is; ``done``: all of it is on the topic."""

    action_id: UUID
    request: ReplayRequest
    progress: ReplayProgress = ReplayProgress(0, 0, 0)
    is_done: bool = False
    problem: str | None = None


def request_to_detail(request: ReplayRequest) -> dict[str, Any]:
    """An order as it is kept with its action."""
    selection = request.log_filter
    filters = {name: getattr(selection, name) for name in selection.__slots__}
    filter_texts = {name: part.isoformat() if isinstance(part, datetime) else part for name, part in filters.items()}
    detail = {"output": request.output, "target": request.target, **filter_texts, "per_second": request.per_second}
    return {name: part for name, part in detail.items() if part is not None}


def request_from_detail(detail: Mapping[str, Any]) -> ReplayRequest:
    """The reverse of :func:`detail_of`."""
    since, until = (datetime.fromisoformat(detail[name]) if name in detail else None for name in ("since", "until"))
    selection = LogFilter(detail.get("root_account"), detail.get("course"), detail.get("assignment"), since, until)
    return ReplayRequest(detail["output"], detail["target"], selection, detail.get("per_second"))


class ReplayJobs:
    """Carries out the orders of the last day, also after a restart: a replay goes on where it was ended."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self.settings = settings
        self.jobs: dict[UUID, ReplayJob] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def resume(self, pool: Pool) -> None:
        """Go on with what was ordered before this process began; tried until PostgreSQL answers."""
        while True:
            with contextlib.suppress(*INFRASTRUCTURE_ERRORS):
                since = datetime.now(UTC) - RESUME_WINDOW
                for action in await list_actions(pool, None, REPLAYS_MAX, kind="replay", since=since):
                    request = request_from_detail(json.loads(action.detail))
                    # One without an end is a command line's: its user goes on with it, we would add what is new.
                    if request.log_filter.until is not None:
                        self.start(action.id, request)
                return
            await asyncio.sleep(RETRY_SECONDS)

    def start(self, action_id: UUID, request: ReplayRequest) -> None:
        """Carry out an order, unless that is under way."""
        if action_id not in self._tasks:
            self.jobs[action_id] = ReplayJob(action_id, request)
            self._tasks[action_id] = asyncio.create_task(self._run(self.jobs[action_id]))

    def stop(self) -> None:
        """End what is under way; what is not done goes on at the next start."""
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
                LOGGER.warning("a replay waits: %s", job.problem)
                await asyncio.sleep(RETRY_SECONDS)

    async def _emit(self, job: ReplayJob) -> None:
        connection = await connect(self.settings.url(), "replay", READER)
        try:
            if not await FeedReader(connection).try_lock(f"replay {job.action_id}"):
                job.problem = "another console carries it out"
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
