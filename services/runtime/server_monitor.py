"""Checks Kafka and PostgreSQL once a second, for a process's readiness and metrics.

This way an idle process notices an outage within seconds, not with its next piece of work.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition

from services.config.kafka import KafkaSettings
from services.kafka.client_options import client_options
from services.kafka.topics import full_topic_name
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import Health
from services.telemetry.metrics.process import ProcessMetrics

LOGGER = logging.getLogger("watch")
CHECK_INTERVAL_SECONDS = 1.0
CHECK_SECONDS_MAX = 3.0
KafkaCheck = Callable[[], Awaitable[None]]
PostgresCheck = Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]]


class ServerMonitor:
    """Checks Kafka and PostgreSQL once a second, until cancelled.

    ``check_kafka`` (default: read the end of the progress topic) and ``check_postgres`` (in addition to reading the
    clock) raise the clients' errors while a server is down. Each may take CHECK_SECONDS_MAX.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        connect_postgres: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]],
        health: Health,
        metrics: ProcessMetrics,
        check_kafka: KafkaCheck | None = None,
        check_postgres: PostgresCheck | None = None,
    ) -> None:
        self.settings = settings
        self.connect_postgres = connect_postgres
        self.health = health
        self.metrics = metrics
        metrics.ready.callback = lambda: [((), float(health.not_ready_reason() is None))]
        self.check_kafka = check_kafka or self._check_progress_topic
        self.check_postgres = check_postgres
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Check until cancelled."""
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
                async with asyncio.timeout(CHECK_SECONDS_MAX), failpoints.around("monitor.kafka"):
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
                async with asyncio.timeout(CHECK_SECONDS_MAX), failpoints.around("monitor.postgresql"):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await self.connect_postgres()
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
        """Read the end of the progress topic, which only the leader of its partition can return."""
        progress_topic = full_topic_name(self.settings.topic_prefix, "progress")
        if self._consumer is None:
            consumer = AIOKafkaConsumer(**client_options(self.settings.kafka_bootstrap), enable_auto_commit=False)
            self._consumer = consumer
            await consumer.start()
        await self._consumer.end_offsets([TopicPartition(progress_topic, 0)])

    async def _stop_consumer(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(*KAFKA_ERRORS):
                await asyncio.wait_for(consumer.stop(), CHECK_SECONDS_MAX)


async def measure_clock_offset(connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    """Measure by how many seconds PostgreSQL's clock is ahead of ours, to half the round trip."""
    sent_at = time.time()
    server_time: datetime = await connection.fetchval("select clock_timestamp()")
    return server_time.timestamp() - (sent_at + time.time()) / 2
