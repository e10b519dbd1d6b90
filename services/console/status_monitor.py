"""The console's eye: follows the log, the commands topic and the relay's progress, and says how things stand."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import asyncpg
from aiokafka.errors import KafkaError

from services.console.group_members import Owners
from services.console.kafka_probe import Broker
from services.console.pipeline_status import Lost, Now, Partition, Publication
from services.console.publication_rate import Pace
from services.console.topic_integrity import Losses
from services.console.verdict_stats import Tally
from services.eventlog.dead_letters import Failures
from services.eventlog.feed_history import History
from services.eventlog.pipeline_queries import Behind, Watching
from services.eventlog.postgres import Pool, trouble
from services.kafka.relay_progress import Progress
from services.runtime.health import Health
from services.runtime.server_monitor import together
from services.telemetry.consumer_lag import Looks

LOGGER = logging.getLogger("console")
LOOK_SECONDS = 0.2
ASK_BROKER_SECONDS = 1.0
ASK_OWNERS_SECONDS = 2.0
COMPARE_SECONDS = 5.0
RETRY_SECONDS = 1.0
ROWS_PER_SHARD_MAX = 1_000
PUBLICATIONS_MAX = 50
STOPPED_SECONDS = 60
# A question that takes long is asked the more seldom.
REST_PER_WORK = 20
NO_POSTGRES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


class Watch:
    """``now``: how things stand; ``version`` grows with each change of it. ``tally``: the verdicts, counted.

    ``clock``: how far PostgreSQL's clock is ahead of ours.
    """

    def __init__(self, pool: Pool, bootstrap: str, prefix: str, health: Health) -> None:
        self.watching = Watching(pool)
        self.failures = Failures(pool)
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.tally = Tally()
        self.now = Now(problems=("The console is starting",))
        self.version = 0
        self.health = health
        self.progress: Progress | None = None
        self._changed = asyncio.Event()
        self.clock = timedelta()
        self._partitions: tuple[Partition, ...] = ()
        self._looks: dict[int, Looks] = {}
        self._outputs: tuple[Behind, ...] = ()
        self._publications: tuple[Publication, ...] = ()
        self._losses = Losses(bootstrap, prefix)
        self._lost: tuple[Lost, ...] = ()
        self._pace = Pace()
        self._letters: tuple[int, datetime | None] = (0, None)
        self._letters_at = 0.0
        self._counting = True

    async def run(self) -> None:
        """Watch until cancelled."""
        await together(self._follow_log(), self._follow_broker())

    async def changed_since(self, version: int, seconds: float) -> bool:
        """Wait until ``now`` is newer than a version; False where it is not in time."""
        try:
            async with asyncio.timeout(seconds):
                while self.version == version:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _say(self) -> None:
        at = datetime.now(UTC) + self.clock
        self.health.beat("watch")
        now = Now(
            at=at,
            decided=self.tally.decided,
            rejected=self.tally.rejected(at),
            flow=self.tally.flow(at),
            p50=self.tally.latency(at, 0.5),
            p99=self.tally.latency(at, 0.99),
            partitions=self._partitions,
            outputs=self._outputs,
            publications=self._publications,
            recent=tuple(self.tally.recent),
            open_letters=self._letters[0],
            oldest_letter=self._letters[1],
            problems=tuple(self.health.servers.values()),
            lost=self._lost,
            counting=self._counting,
        )
        self.now = now
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _server(self, name: str, problem: str | None) -> None:
        if problem != self.health.servers.get(name):
            LOGGER.log(logging.WARNING if problem else logging.INFO, "%s", problem or f"{name} answers again")
        self.health.server(name, problem)

    async def _follow_log(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                is_behind = self._counting = await self._look()
                self._server("postgresql", None)
                self.health.problem = None
            except NO_POSTGRES as error:
                self._server("postgresql", trouble(error))
                is_behind = False
            self._say()
            await asyncio.sleep(0 if is_behind else max(LOOK_SECONDS - (time.monotonic() - begun), 0.05))

    async def _look(self) -> bool:
        """One look at the log; True where more waits to be read."""
        fresh = await self.watching.decided(self.tally.numbers, ROWS_PER_SHARD_MAX)
        self.tally.add(fresh)
        self.clock = await self.watching.now() - datetime.now(UTC)
        if self.progress is not None:
            self._outputs = tuple(await self.watching.behind(self.progress))
            live = next(output for output in self._outputs if output.topic == "live-events")
            found = await self.watching.publishing(self.progress, PUBLICATIONS_MAX) if live.waiting else []
            self._publications = self._pace.of(found)
        begun = time.monotonic()
        if begun >= self._letters_at:
            self._letters = await self.failures.count_open()
            ended = time.monotonic()
            self._letters_at = ended + REST_PER_WORK * (ended - begun)
        return len(fresh) >= ROWS_PER_SHARD_MAX

    async def _follow_broker(self) -> None:
        while True:
            broker, owners = Broker(self.bootstrap, self.prefix), Owners(self.bootstrap, self.prefix)
            try:
                await broker.start()
                await owners.start()
                self.progress = await broker.first_progress()
                await together(
                    self._follow_progress(broker),
                    self._follow_commands(broker, owners),
                    self._follow_owners(owners),
                    self._follow_topics(broker),
                )
            except (KafkaError, OSError, TimeoutError) as error:
                self._server("kafka", f"Kafka does not answer: {type(error).__name__}")
            finally:
                await broker.stop()
                await owners.stop()
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow_progress(self, broker: Broker) -> None:
        while True:
            self.progress = await broker.next_progress() or self.progress

    async def _follow_owners(self, owners: Owners) -> None:
        while True:
            await owners.look()
            await asyncio.sleep(ASK_OWNERS_SECONDS)

    async def _follow_topics(self, broker: Broker) -> None:
        history = History(self.watching.connection)
        while True:
            try:
                self._lost = await self._losses.look(broker, history)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                # That PostgreSQL is away says whoever follows the log; the last that was seen stands meanwhile.
                if isinstance(error, TimeoutError) and "postgresql" not in self.health.servers:
                    raise
            await asyncio.sleep(COMPARE_SECONDS)

    async def _follow_commands(self, broker: Broker, owners: Owners) -> None:
        while True:
            begun = time.monotonic()
            try:
                watermarks = await self.watching.watermarks(broker.commands, broker.partitions)
            except NO_POSTGRES:
                watermarks = None  # Said by whoever follows the log.
            if watermarks is not None:
                lag = await broker.lag(watermarks)
                self._partitions = tuple(
                    self._partition(number, watermarks[number], *lag[number], owners.of(number))
                    for number in sorted(lag)
                )
            self._server("kafka", None)
            await asyncio.sleep(max(ASK_BROKER_SECONDS - (time.monotonic() - begun), 0.1))

    def _partition(
        self, number: int, watermark: int, lag: int, first_appended: int | None, owner: str | None
    ) -> Partition:
        looks, oldest = self._looks.setdefault(number, Looks()), 0.0
        looks.add(time.monotonic(), watermark + 1, watermark + 1 + lag)
        if first_appended is not None:
            at = datetime.now(UTC) + self.clock
            oldest = max(at.timestamp() - first_appended / 1_000, 0.0)
        state = looks.state(tried=oldest < STOPPED_SECONDS)
        return Partition.seen(number, watermark, lag, oldest, state, owner)
