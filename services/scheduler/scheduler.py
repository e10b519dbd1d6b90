"""The loop: find due publications, send them, and sleep until the next one is due.

Every query compares with PostgreSQL's clock, so that nothing is sent early, regardless of this machine's clock. What is
due by PostgreSQL's clock alone, because it was set ahead, waits until the clocks agree: a publication cannot be undone.
Sent publications are remembered only in memory: sending one again, even by another scheduler, repeats its command id,
which is decided once.
"""

import asyncio
import functools
import logging
import math
import time
from collections.abc import Sequence

from services.config.scheduler import SchedulerSettings
from services.eventlog.postgres import READER, HeartbeatConnection, connect
from services.eventlog.schedules import Schedule, find_decided, read_schedules
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_ERRORS, Server, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import Health
from services.scheduler.sender import PublicationSender, send_each
from services.telemetry.metrics.scheduler import SchedulerMetrics

LOGGER = logging.getLogger("scheduler")
POLL_SECONDS = 0.5
AHEAD_SECONDS = 5.0
CLOCK_AHEAD_SECONDS_MAX = 1.0
# Older due schedules are read only once a minute, because the log holds the schedules of many years.
BACK_SECONDS = 3_600.0
FULL_SCAN_SECONDS = 60.0
SEND_SECONDS_MAX = 60
# A command that is not decided by then is sent again: it may be lost, or its token was rejected.
RESEND_SECONDS = (30.0, 60.0, 120.0, 300.0)
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)


def split_due(schedules: Sequence[Schedule], now: float) -> tuple[list[Schedule], list[Schedule]]:
    """Return the schedules that are due, and those that are due by PostgreSQL's clock alone.

    ``now``: this machine's time, in seconds since 1970.
    """
    due: list[Schedule] = []
    early: list[Schedule] = []
    for schedule in schedules:
        if schedule.seconds_left <= 0:
            is_confirmed = schedule.publish_at.timestamp() <= now + CLOCK_AHEAD_SECONDS_MAX
            (due if is_confirmed else early).append(schedule)
    return due, early


class Scheduler:
    """Sends the publications that are due, until cancelled."""

    def __init__(
        self, settings: SchedulerSettings, health: Health, metrics: SchedulerMetrics, sender: PublicationSender
    ) -> None:
        self._url = settings.url()
        self._health = health
        self._metrics = metrics
        self._sender = sender
        self._connection: HeartbeatConnection | None = None
        self._asked: Server = "postgresql"
        # By command id: how often it was sent, and when it may be sent again, by the monotonic clock; never after it
        # was decided.
        self._attempts: dict[str, tuple[int, float]] = {}
        self._pending_seconds = 0.0
        self._full_scan_at = -math.inf
        self._holds_back = False

    async def run(self) -> None:
        """Run until cancelled; while a server is down, retry with growing pauses."""
        failures, problem = 0, None
        try:
            while True:
                try:
                    pause = await self._send_due()
                    self._health.problem, failures, problem = None, 0, None
                except (*POSTGRES_ERRORS, *KAFKA_ERRORS) as error:
                    described = describe_error(error, self._asked)
                    if described != problem:
                        LOGGER.warning("no publications can be sent at present: %s", problem := described)
                    self._disconnect()
                    pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                    failures += 1
                self._health.heartbeat("scheduler")
                await asyncio.sleep(pause)
        finally:
            self._disconnect()
            await self._sender.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _send_due(self) -> float:
        """Send due publications; return the seconds until the next check."""
        self._asked = "postgresql"
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            async with failpoints.around("scheduler.connect"):
                connection = await connect(self._url, "scheduler", READER)
            self._connection = failpoints.arm(connection, "scheduler.connection")
            self._connection.heartbeat = functools.partial(self._health.heartbeat, "scheduler")
            self._full_scan_at = -math.inf
        is_full_scan = time.monotonic() - self._full_scan_at >= FULL_SCAN_SECONDS
        seconds_before = None if is_full_scan else max(BACK_SECONDS, self._pending_seconds)
        in_force: set[str] = set()
        next_seconds, held_back, overdue_seconds = POLL_SECONDS, 0, 0.0
        error: Exception | None = None
        async for page in read_schedules(self._connection, seconds_before, AHEAD_SECONDS):
            in_force |= {schedule.command_id for schedule in page}
            due, early = split_due(page, time.time())
            held_back += len(early)
            pending = await self._find_undecided([schedule for schedule in due if self._may_send(schedule)])
            overdue_seconds = max([overdue_seconds, *(-schedule.seconds_left for schedule in pending)])
            if pending:
                error = await self._send(pending) or error
            self._asked = "postgresql"
            next_seconds = min([next_seconds, *(each.seconds_left for each in page if each.seconds_left > 0)])
        if is_full_scan:
            self._full_scan_at = time.monotonic()
            self._attempts = {key: attempt for key, attempt in self._attempts.items() if key in in_force}
        if held_back and not self._holds_back:
            LOGGER.error(
                "PostgreSQL's clock is ahead of this machine's: %s scheduled publications wait until the clocks agree;"
                " nothing was sent: synchronize the clocks of both hosts",
                held_back,
            )
        self._holds_back = held_back > 0
        self._pending_seconds = BACK_SECONDS + overdue_seconds
        if error is not None:
            self._asked = "kafka"
            raise error
        return max(next_seconds, 0.001)

    def _may_send(self, schedule: Schedule) -> bool:
        attempt = self._attempts.get(schedule.command_id)
        return attempt is None or time.monotonic() >= attempt[1]

    async def _find_undecided(self, schedules: Sequence[Schedule]) -> list[Schedule]:
        """Leave out schedules whose publication is decided, mostly refused: they are never sent again."""
        if not schedules:
            return []
        assert self._connection is not None
        decided = await find_decided(self._connection, schedules)
        self._attempts |= dict.fromkeys(decided, (0, math.inf))
        return [schedule for schedule in schedules if schedule.command_id not in decided]

    async def _send(self, schedules: Sequence[Schedule]) -> Exception | None:
        """Send commands, and remember which the brokers have; return the first error of the others, if any.

        Raises KAFKA_ERRORS: no broker answers.
        """
        self._asked = "kafka"
        self._health.heartbeat("scheduler", SEND_SECONDS_MAX)
        await self._sender.start()
        asked_at = time.monotonic()
        result = await send_each(self._sender.send, schedules)
        for schedule in schedules:
            sent_at = result.sent.get(schedule.command_id)
            sent_before = self._attempts.get(schedule.command_id, (0, 0.0))[0]
            if sent_at is None:
                # Back off, so that a command that hangs does not delay newly due ones at each attempt.
                self._attempts[schedule.command_id] = sent_before, time.monotonic() + RETRY_SECONDS[-1]
                continue
            pause = RESEND_SECONDS[min(sent_before, len(RESEND_SECONDS) - 1)]
            self._attempts[schedule.command_id] = sent_before + 1, sent_at + pause
            self._metrics.sent.labels("again" if sent_before else "first").inc()
            if not sent_before:
                self._metrics.lateness.observe(sent_at - asked_at - schedule.seconds_left)
        return result.error
