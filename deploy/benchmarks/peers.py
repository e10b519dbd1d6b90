"""The eventsourcing library and a bare consumer, on the same servers."""

import asyncio
import time
import uuid
from urllib.parse import urlsplit

from aiokafka import AIOKafkaConsumer, TopicPartition
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from deploy.benchmarks.environment import BenchInstallation
from deploy.local.postgres import database_name, read_password
from services.kafka.client_options import client_options
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name


class AssignmentAggregate(Aggregate):
    """An assignment as the eventsourcing library models it."""

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}

    @event("Graded")
    def grade(self, student: str, score: int) -> None:
        """Record a grade."""
        self.scores[student] = score


async def eventsourcing(url: str, commands: int) -> float:
    """Measure the library's appends per second: one event and one transaction per command, the aggregate in memory."""
    return await asyncio.to_thread(_eventsourcing, url, commands)


def _eventsourcing(url: str, commands: int) -> float:
    url_parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": database_name(url),
        "POSTGRES_HOST": str(url_parts.hostname),
        "POSTGRES_PORT": str(url_parts.port or 5432),
        "POSTGRES_USER": str(url_parts.username),
        "POSTGRES_PASSWORD": read_password(url) or "none",
    }
    with Application[uuid.UUID](env=environment) as application:
        aggregate = AssignmentAggregate()
        application.save(aggregate)
        started_at = time.perf_counter()
        for number in range(commands):
            aggregate.grade(str(number % 300), number % 101)
            application.save(aggregate)
        return commands / (time.perf_counter() - started_at)


async def bare_consumer(installation: BenchInstallation, records: int) -> float:
    """Measure the records per second that aiokafka delivers when nothing is done with them."""
    partitions = [TopicPartition(full_topic_name(installation.prefix, "commands"), shard) for shard in ALL_SHARDS]
    consumer = AIOKafkaConsumer(
        **client_options(installation.bootstrap), auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        consumed_count, started_at = 0, time.perf_counter()
        while consumed_count < records:
            batches = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
            consumed_count += sum(len(batch) for batch in batches.values())
        return consumed_count / (time.perf_counter() - started_at)
    finally:
        await consumer.stop()
