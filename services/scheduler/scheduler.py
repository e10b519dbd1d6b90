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

from aiokafka.errors import KafkaTimeoutError

from services.config import SchedulerSettings
from services.eventlog.postgres import READER, HeartbeatConnection, connect
from services.eventlog.schedules import Schedule, find_decided, read_schedules
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_ERRORS, Server, describe_error
from services.runtime.health import Health
from services.scheduler.sender import PublicationSender
from services.telemetry.metrics import SchedulerMetrics

LOGGER = logging.getLogger("scheduler")
POLL_SECONDS = 0.5
AHEAD_SECONDS = 5.0
CLOCK_AHEAD_SECONDS_MAX = 1.0
# Older due schedules are read only once a minute, because the log holds the schedules of many years.
BACK_SECONDS = 3_600.0
FULL_SCAN_SECONDS = 60.0
SCHEDULES_MAX = 10_000
SENT_AT_ONCE_MAX = 200
# The producer's own timeouts are shorter.
SEND_SECONDS_MAX = 60
# A command that is not decided by then is sent again: it may be lost, or its token was rejected.
RESEND_SECONDS = (30.0, 60.0, 120.0, 300.0)
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)


def split_due(schedules: Sequence[Schedule], now: float) -> tuple[list[Schedule], list[Schedule]]:
    """Return the schedules that are due, and those that are due by PostgreSQL's clock alone.

    ``now``: this machine's time, in seconds since 1970.
    """
    due = [schedule for schedule in schedules if schedule.seconds_left <= 0]
    confirmed = [schedule for schedule in due if schedule.publish_at.timestamp() <= now + CLOCK_AHEAD_SECONDS_MAX]
    return confirmed, [schedule for schedule in due if schedule not in confirmed]


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
        # was refused.
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
                    await self._disconnect()
                    pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                    failures += 1
                self._health.heartbeat("scheduler")
                await asyncio.sleep(pause)
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
        await self._sender.close()

    async def _send_due(self) -> float:
        """Send due publications; return the seconds until the next check."""
        self._asked = "postgresql"
        if self._connection is None or self._connection.is_closed():
            self._connection = None
            self._connection = await connect(self._url, "scheduler", READER)
            self._connection.heartbeat = functools.partial(self._health.heartbeat, "scheduler")
            self._full_scan_at = -math.inf
        is_full_scan = time.monotonic() - self._full_scan_at >= FULL_SCAN_SECONDS
        seconds_before = None if is_full_scan else max(BACK_SECONDS, self._pending_seconds)
        schedules = await read_schedules(self._connection, seconds_before, AHEAD_SECONDS, SCHEDULES_MAX)
        if is_full_scan:
            self._full_scan_at = time.monotonic()
            in_force = {schedule.command_id for schedule in schedules}
            self._attempts = {key: attempt for key, attempt in self._attempts.items() if key in in_force}
        due, held_back = split_due(schedules, time.time())
        if held_back and not self._holds_back:
            LOGGER.error(
                "PostgreSQL's clock is ahead of this machine's: %s scheduled publications wait until the clocks agree;"
                " nothing was sent: synchronize the clocks of both hosts",
                len(held_back),
            )
        self._holds_back = bool(held_back)
        pending = await self._find_undecided([schedule for schedule in due if self._may_send(schedule)])
        self._pending_seconds = BACK_SECONDS + max((-schedule.seconds_left for schedule in pending), default=0.0)
        for start in range(0, len(pending), SENT_AT_ONCE_MAX):
            await self._send(pending[start : start + SENT_AT_ONCE_MAX])
        next_seconds = min((schedule.seconds_left for schedule in schedules if schedule.seconds_left > 0), default=60.0)
        return min(max(next_seconds, 0.001), POLL_SECONDS)

    def _may_send(self, schedule: Schedule) -> bool:
        attempt = self._attempts.get(schedule.command_id)
        return attempt is None or time.monotonic() >= attempt[1]

    async def _find_undecided(self, schedules: Sequence[Schedule]) -> list[Schedule]:
        """Leave out schedules whose publication was refused: they are never sent again."""
        if not schedules:
            return []
        assert self._connection is not None
        decided = await find_decided(self._connection, schedules)
        self._attempts |= dict.fromkeys(decided, (0, math.inf))
        return [schedule for schedule in schedules if schedule.command_id not in decided]

    async def _send(self, schedules: Sequence[Schedule]) -> None:
        self._asked = "kafka"
        self._health.heartbeat("scheduler", SEND_SECONDS_MAX)
        await self._sender.start()
        asked_at = time.monotonic()
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                results = await asyncio.gather(*map(self._sender.send, schedules), return_exceptions=True)
        except TimeoutError:
            raise KafkaTimeoutError("the brokers do not acknowledge the commands") from None
        for schedule, error in zip(schedules, results, strict=True):
            if isinstance(error, BaseException):
                continue
            sent_before = self._attempts.get(schedule.command_id, (0, 0.0))[0]
            pause = RESEND_SECONDS[min(sent_before, len(RESEND_SECONDS) - 1)]
            self._attempts[schedule.command_id] = sent_before + 1, time.monotonic() + pause
            self._metrics.sent.labels("again" if sent_before else "first").inc()
            if not sent_before:
                self._metrics.lateness.observe(time.monotonic() - asked_at - schedule.seconds_left)
        for error in results:
            if isinstance(error, Exception):
                raise error
            if isinstance(error, BaseException):
                raise KafkaTimeoutError("the client cancelled a record")
