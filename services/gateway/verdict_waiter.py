"""Waits for verdicts with one query for all requests in flight."""

import asyncio
import contextlib
import logging
import time

from services.eventlog.postgres import READER, connect
from services.eventlog.stream_reader import StoredVerdict, StreamReader
from services.gateway.metrics import METRICS
from services.runtime.errors import POSTGRES_ERRORS, describe_error
from services.runtime.health import Health
from services.runtime.server_monitor import CHECK_SECONDS_MAX, measure_clock_offset

LOGGER = logging.getLogger("gateway")
POLL_SECONDS = 0.005
RETRY_SECONDS = 0.5
PartitionOffset = tuple[int, int]


class VerdictWaiter:
    """Polls PostgreSQL while requests wait. ``problem`` states why it cannot; None while it can."""

    def __init__(self, url: str, topic: str, health: Health) -> None:
        self.health = health
        self.url = url
        self.topic = topic
        self.problem: str | None = "starting"
        self._waiters: dict[PartitionOffset, asyncio.Future[StoredVerdict]] = {}
        self._has_waiters = asyncio.Event()

    async def wait(self, coordinates: PartitionOffset, timeout_seconds: float) -> StoredVerdict | None:
        """Return the verdict of the record at (partition, offset); None if it does not arrive in time."""
        waiter = self._waiters[coordinates] = asyncio.get_running_loop().create_future()
        self._has_waiters.set()
        started_at = time.monotonic()
        try:
            stored_verdict: StoredVerdict = await asyncio.wait_for(waiter, timeout_seconds)
        except TimeoutError:
            return None
        finally:
            del self._waiters[coordinates]
        METRICS.verdict_seconds.observe(time.monotonic() - started_at)
        return stored_verdict

    async def run(self) -> None:
        """Poll until cancelled; reconnect after an error."""
        while True:
            self.health.heartbeat("verdicts")
            try:
                await self._poll()
            except POSTGRES_ERRORS as error:
                if self.problem != describe_error(error):
                    LOGGER.warning("%s", describe_error(error))
                self.problem = describe_error(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _poll(self) -> None:
        connection = await connect(self.url, "gateway", READER)
        try:
            reader = StreamReader(connection)
            while True:
                self.health.heartbeat("verdicts")
                if not self._waiters:
                    # No request waits: only probe the server.
                    self._has_waiters.clear()
                    async with asyncio.timeout(CHECK_SECONDS_MAX):
                        METRICS.clock_offset.labels("postgresql").set(await measure_clock_offset(connection))
                    self.problem = None
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._has_waiters.wait(), RETRY_SECONDS)
                    continue
                async with asyncio.timeout(CHECK_SECONDS_MAX):
                    verdicts = await reader.verdicts_at(self.topic, list(self._waiters))
                for stored_verdict in verdicts:
                    waiter = self._waiters.get((stored_verdict.partition, stored_verdict.offset))
                    if waiter is not None and not waiter.done():
                        waiter.set_result(stored_verdict)
                self.problem = None
                await asyncio.sleep(POLL_SECONDS)
        finally:
            connection.terminate()
