"""Monitors all schedules: how many are waiting, overdue or refused, and how many would be refused now."""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from services.config.scheduler import SchedulerSettings
from services.eventlog.aggregates import load_as_of
from services.eventlog.postgres import READER, connect
from services.eventlog.schedules import Schedule, find_decided, read_schedules, read_versions
from services.eventlog.stream_reader import StreamReader
from services.moderation.decisions import (
    ADJUDICATION_STALE,
    NOT_FOUND,
    NOT_MODERATED,
    PLAN_OUTDATED,
    SELECTION_REQUIRED,
    UNAUTHORIZED,
)
from services.moderation.schedule import find_refusal_now
from services.runtime.errors import POSTGRES_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.telemetry.metrics.scheduler import SchedulerMetrics

LOGGER = logging.getLogger("outlook")
INTERVAL_SECONDS = 15.0
DAY_SECONDS = 86_400.0
AHEAD_SECONDS = 401 * DAY_SECONDS
# Reading and checking a large class takes a second; the soonest are checked first, the others in a later round.
CHECK_SECONDS_MAX = 10.0
REASONS = tuple(
    rejection.reason
    for rejection in (NOT_FOUND, UNAUTHORIZED, NOT_MODERATED, ADJUDICATION_STALE, SELECTION_REQUIRED, PLAN_OUTDATED)
)
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Outlook:
    """Sets the metrics of all schedules every few seconds, until cancelled."""

    def __init__(self, settings: SchedulerSettings, metrics: SchedulerMetrics) -> None:
        self._url = settings.url()
        self._metrics = metrics
        # By schedule: the versions of assignment and course at the last check, and the reason for a refusal.
        self._checked: dict[str, tuple[tuple[int, int], str | None]] = {}

    async def run(self) -> None:
        """Monitor until cancelled; while PostgreSQL is down the metrics keep their values."""
        connection = None
        try:
            while True:
                try:
                    if connection is None or connection.is_closed():
                        async with failpoints.around("scheduler.outlook.connect"):
                            connection = await connect(self._url, "scheduler-outlook", READER)
                    async with failpoints.around("scheduler.outlook.observe"):
                        await self.observe(connection)
                except POSTGRES_ERRORS as error:
                    LOGGER.info("schedules cannot be monitored at present: %s", describe_error(error))
                    if connection is not None:
                        connection.terminate()
                        connection = None
                await asyncio.sleep(INTERVAL_SECONDS)
        finally:
            if connection is not None:
                connection.terminate()

    async def observe(self, connection: Connection) -> None:
        """Read all schedules in force and set the metrics. Raises POSTGRES_ERRORS."""
        waiting: list[Schedule] = []
        overdue: list[Schedule] = []
        refused = 0
        async for page in read_schedules(connection, None, AHEAD_SECONDS):
            passed = [schedule for schedule in page if schedule.seconds_left <= 0]
            waiting += [schedule for schedule in page if schedule.seconds_left > 0]
            decided = await find_decided(connection, passed) if passed else {}
            overdue += [schedule for schedule in passed if schedule.command_id not in decided]
            # One that was published after the page was read is in neither count: it is no longer in force.
            refused += sum(decided.get(schedule.command_id) is not None for schedule in passed)
        by_state = {"waiting": len(waiting), "overdue": len(overdue), "refused": refused}
        for state, count in by_state.items():
            self._metrics.schedules.labels(state).set(count)
        self._metrics.overdue.set(max((-schedule.seconds_left for schedule in overdue), default=0.0))
        next_due_at = time.monotonic() + waiting[0].seconds_left if waiting else math.inf
        self._metrics.next_due.callback = lambda: [((), max(next_due_at - time.monotonic(), 0.0))]
        soon = [schedule for schedule in waiting if schedule.seconds_left <= DAY_SECONDS]
        refusals = await self._check(connection, soon)
        for reason in REASONS:
            self._metrics.would_be_refused.labels(reason).set(refusals[reason])

    async def _check(self, connection: Connection, schedules: Sequence[Schedule]) -> Counter[str]:
        """Count the schedules that would be refused now, by reason; read only changed assignments again."""
        started_at, kept = time.monotonic(), {}
        versions = await read_versions(connection, schedules) if schedules else {}
        for schedule in schedules:
            checked = self._checked.get(schedule.schedule_id)
            version = versions[schedule.stream]
            is_outdated = checked is None or checked[0] != version
            if is_outdated and time.monotonic() - started_at < CHECK_SECONDS_MAX:
                checked = version, await self._find_refusal(connection, schedule)
            if checked is not None:
                kept[schedule.schedule_id] = checked
        self._checked = kept
        return Counter(reason for _, reason in kept.values() if reason is not None)

    async def _find_refusal(self, connection: Connection, schedule: Schedule) -> str | None:
        async with failpoints.around("scheduler.outlook.load_as_of"):
            loaded = await load_as_of(StreamReader(connection), schedule.root_account, schedule.assignment)
        assert loaded is not None
        return find_refusal_now(schedule.plan_digest, schedule.user_id, *loaded)
