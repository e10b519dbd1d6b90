"""Asking Kafka and PostgreSQL for signs of life, once a second, for a process's readiness and its metrics.

What a process would only learn with its next piece of work is known within seconds this way, also when it is idle.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.config import ProcessSettings
from services.eventlog.postgres import connect, trouble
from services.kafka.topics import topic
from services.runtime.health import Health
from services.telemetry.metrics import ProcessMetrics

LOGGER = logging.getLogger("watch")
LOOK_EVERY_SECONDS = 1.0
ANSWER_SECONDS_MAX = 3.0
AskKafka = Callable[[], Awaitable[None]]
AskPostgres = Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]]


class Watch:
    """Looks at both servers until cancelled; ``ask_kafka`` and ``ask_postgres`` say what is asked besides.

    Whoever is asked raises what the libraries raise when a server is away, and is given three seconds.
    """

    def __init__(
        self,
        settings: ProcessSettings,
        process: str,
        role: str,
        health: Health,
        metrics: ProcessMetrics,
        ask_kafka: AskKafka | None = None,
        ask_postgres: AskPostgres | None = None,
    ) -> None:
        self.settings = settings
        self.process = process
        self.role = role
        self.health = health
        self.metrics = metrics
        metrics.ready.read = lambda: [((), float(health.wrong() is None))]
        self.ask_kafka = ask_kafka or self._progress_ends
        self.ask_postgres = ask_postgres
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            await asyncio.gather(self._kafka(), self._postgres())
        finally:
            await self._forget_consumer()
            if self._connection is not None:
                self._connection.terminate()

    async def _kafka(self) -> None:
        while True:
            problem = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    await self.ask_kafka()
            except (KafkaError, OSError, TimeoutError) as error:
                problem = f"Kafka does not answer: {type(error).__name__}"
                await self._forget_consumer()
            self._say("kafka", problem)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def _postgres(self) -> None:
        while True:
            problem = None
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(self.settings.url(), f"{self.process}-watch", self.role)
                    offset = await clock_offset(self._connection)
                    self.metrics.clock_offset.labels("postgresql").set(offset)
                    if self.ask_postgres is not None:
                        await self.ask_postgres(self._connection)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                problem = trouble(error)
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
            self._say("postgresql", problem)
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    def _say(self, server: str, problem: str | None) -> None:
        if problem != self.health.servers.get(server):
            level, said = (logging.WARNING, problem) if problem else (logging.INFO, "it answers again")
            LOGGER.log(level, "%s", said, extra={"server": server})
        self.health.server(server, problem)
        self.metrics.server_up.labels(server).set(problem is None)
        self.health.beat("watch")

    async def _progress_ends(self) -> None:
        """For a process without a consumer of its own: a question that only the partition's leader can answer."""
        name = topic(self.settings.topic_prefix, "progress")
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, enable_auto_commit=False)
            self._consumer = consumer
            await consumer.start()
        await self._consumer.end_offsets([TopicPartition(name, 0)])

    async def _forget_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                await asyncio.wait_for(consumer.stop(), ANSWER_SECONDS_MAX)


async def clock_offset(connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    """How far PostgreSQL's clock is ahead of this process's, in seconds, to half the time of asking."""
    asked = time.time()
    server: datetime = await connection.fetchval("select clock_timestamp()")
    return server.timestamp() - (asked + time.time()) / 2


def _told(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        LOGGER.error("work beside the process's own was ended by an exception", exc_info=error)


@contextlib.asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that never ends, while the block runs. Where a defect ends it, that is logged."""
    task = asyncio.create_task(work)
    task.add_done_callback(_told)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def together(*works: Coroutine[None, None, None]) -> None:
    """Works that never end, side by side, until one fails: raises its error, when the others have ended.

    Cancelled it is cancelled, whatever the works raise then. A TaskGroup raises their errors instead, and whoever tries
    again after those would not know to end.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
