"""Waiting for verdicts: one query asks for those of all requests in flight."""

import asyncio
import contextlib
import logging
import time

import asyncpg

from services.eventlog.postgres import READER, connect, trouble
from services.eventlog.stream_reader import FoundVerdict, Reader
from services.gateway.metrics import METRICS
from services.runtime.health import Health
from services.runtime.server_monitor import ANSWER_SECONDS_MAX, clock_offset

LOGGER = logging.getLogger("gateway")
ASK_EVERY_SECONDS = 0.005
RETRY_SECONDS = 0.5
Place = tuple[int, int]


class Verdicts:
    """Asks PostgreSQL while somebody waits. ``problem``: why it cannot, None while it can."""

    def __init__(self, url: str, topic: str, health: Health) -> None:
        self.health = health
        self.url = url
        self.topic = topic
        self.problem: str | None = "starting"
        self._waiting: dict[Place, asyncio.Future[FoundVerdict]] = {}
        self._somebody_waits = asyncio.Event()

    async def wait(self, place: Place, seconds: float) -> FoundVerdict | None:
        """The verdict of the record at (partition, offset); None if there is none in time."""
        waiting = self._waiting[place] = asyncio.get_running_loop().create_future()
        self._somebody_waits.set()
        begun = time.monotonic()
        try:
            found: FoundVerdict = await asyncio.wait_for(waiting, seconds)
        except TimeoutError:
            return None
        finally:
            del self._waiting[place]
        METRICS.verdict_seconds.observe(time.monotonic() - begun)
        return found

    async def run(self) -> None:
        """Ask until cancelled; a connection that breaks is made anew."""
        while True:
            self.health.beat("verdicts")
            try:
                await self._ask()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                if self.problem != trouble(error):
                    LOGGER.warning("%s", trouble(error))
                self.problem = trouble(error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _ask(self) -> None:
        connection = await connect(self.url, "gateway", READER)
        try:
            reader = Reader(connection)
            while True:
                self.health.beat("verdicts")
                if not self._waiting:
                    # Nothing to ask for: only whether the server is still there.
                    self._somebody_waits.clear()
                    async with asyncio.timeout(ANSWER_SECONDS_MAX):
                        METRICS.clock_offset.labels("postgresql").set(await clock_offset(connection))
                    self.problem = None
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._somebody_waits.wait(), RETRY_SECONDS)
                    continue
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    verdicts = await reader.verdicts_at(self.topic, list(self._waiting))
                for found in verdicts:
                    waiting = self._waiting.get((found.partition, found.offset))
                    if waiting is not None and not waiting.done():
                        waiting.set_result(found)
                self.problem = None
                await asyncio.sleep(ASK_EVERY_SECONDS)
        finally:
            connection.terminate()
