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

from services.config import ProcessSettings
from services.eventlog.postgres import connect
from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.health import Health
from services.telemetry.metrics import ProcessMetrics

LOGGER = logging.getLogger("watch")
CHECK_INTERVAL_SECONDS = 1.0
CHECK_SECONDS_MAX = 3.0
KafkaCheck = Callable[[], Awaitable[None]]
PostgresCheck = Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]]


class ServerMonitor:
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
        check_kafka: KafkaCheck | None = None,
        check_postgres: PostgresCheck | None = None,
    ) -> None:
        self.settings = settings
        self.process = process
        self.role = role
        self.health = health
        self.metrics = metrics
        metrics.ready.callback = lambda: [((), float(health.not_ready_reason() is None))]
        self.check_kafka = check_kafka or self._check_progress_topic
        self.check_postgres = check_postgres
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            await asyncio.gather(self._monitor_kafka(), self._monitor_postgres())
        finally:
            await self._stop_consumer()
            if self._connection is not None:
                self._connection.terminate()

    async def _monitor_kafka(self) -> None:
        while True:
            problem = None
            try:
                async with asyncio.timeout(CHECK_SECONDS_MAX):
                    await self.check_kafka()
            except KAFKA_ERRORS as error:
                problem = describe_error(error, "kafka")
                await self._stop_consumer()
            self._report("kafka", problem)
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    async def _monitor_postgres(self) -> None:
        while True:
            problem = None
            try:
                async with asyncio.timeout(CHECK_SECONDS_MAX):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(self.settings.url(), f"{self.process}-watch", self.role)
                    offset = await measure_clock_offset(self._connection)
                    self.metrics.clock_offset.labels("postgresql").set(offset)
                    if self.check_postgres is not None:
                        await self.check_postgres(self._connection)
            except POSTGRES_ERRORS as error:
                problem = describe_error(error)
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
            self._report("postgresql", problem)
            await asyncio.sleep(CHECK_INTERVAL_SECONDS)

    def _report(self, server: str, problem: str | None) -> None:
        if problem != self.health.server_problems.get(server):
            level, message = (logging.WARNING, problem) if problem else (logging.INFO, "it answers again")
            LOGGER.log(level, "%s", message, extra={"server": server})
        self.health.set_server_problem(server, problem)
        self.metrics.server_up.labels(server).set(problem is None)
        self.health.heartbeat("watch")

    async def _check_progress_topic(self) -> None:
        """For a process without a consumer of its own: a question that only the partition's leader can answer."""
        progress_topic = full_topic_name(self.settings.topic_prefix, "progress")
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka_bootstrap, enable_auto_commit=False)
            self._consumer = consumer
            await consumer.start()
        await self._consumer.end_offsets([TopicPartition(progress_topic, 0)])

    async def _stop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(*KAFKA_ERRORS):
                await asyncio.wait_for(consumer.stop(), CHECK_SECONDS_MAX)


async def measure_clock_offset(connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    """How far PostgreSQL's clock is ahead of this process's, in seconds, to half the time of asking."""
    sent_at = time.time()
    server_time: datetime = await connection.fetchval("select clock_timestamp()")
    return server_time.timestamp() - (sent_at + time.time()) / 2


def _log_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        LOGGER.error("work beside the process's own was ended by an exception", exc_info=error)


@contextlib.asynccontextmanager
async def run_in_background(coroutine: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Work that never ends, while the block runs. Where a defect ends it, that is logged."""
    task = asyncio.create_task(coroutine)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def run_until_first_failure(*coroutines: Coroutine[None, None, None]) -> None:
    """Works that never end, side by side, until one fails: raises its error, when the others have ended.

    Cancelled it is cancelled, whatever the works raise then. A TaskGroup raises their errors instead, and whoever tries
    again after those would not know to end.
    """
    tasks = [asyncio.create_task(work) for work in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
