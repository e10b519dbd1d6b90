"""What others do on the same servers: a per-message FastStream handler, the eventsourcing library, a bare consumer."""

import asyncio
import time
import uuid
from urllib.parse import urlsplit

import psycopg
from aiokafka import AIOKafkaConsumer, TopicPartition
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from deploy.benchmarks import per_message
from deploy.benchmarks.environment import BenchInstallation
from deploy.benchmarks.processes import RunningProcess
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name

SECONDS_MAX = 120


class AssignmentAggregate(Aggregate):
    """An assignment in the eventsourcing library's way."""

    def __init__(self) -> None:
        self.scores: dict[str, int] = {}

    @event("Graded")
    def grade(self, student: str, score: int) -> None:
        """Record a grade."""
        self.scores[student] = score


async def eventsourcing(url: str, commands: int) -> float:
    """Appends a second of the library on PostgreSQL: one event and one transaction a command, the aggregate at hand."""
    return await asyncio.to_thread(_eventsourcing, url, commands)


def _eventsourcing(url: str, commands: int) -> float:
    url_parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": url_parts.path.removeprefix("/"),
        "POSTGRES_HOST": str(url_parts.hostname),
        "POSTGRES_PORT": str(url_parts.port or 5432),
        "POSTGRES_USER": str(url_parts.username),
        "POSTGRES_PASSWORD": url_parts.password or "none",
    }
    with Application[uuid.UUID](env=environment) as application:
        aggregate = AssignmentAggregate()
        application.save(aggregate)
        started_at = time.perf_counter()
        for number in range(commands):
            aggregate.grade(str(number % 300), number % 101)
            application.save(aggregate)
        return commands / (time.perf_counter() - started_at)


async def faststream_per_message(installation: BenchInstallation, commands: int) -> float:
    """Messages a second that :mod:`per_message` settles, from the first to the last of so many."""
    environment = installation.environment | {
        "TOPIC": full_topic_name(installation.prefix, "commands"),
        "GROUP": f"{installation.prefix}-{uuid.uuid4()}",
    }
    async with await psycopg.AsyncConnection.connect(installation.url, autocommit=True) as connection:
        await connection.execute(per_message.CREATE_TABLE.encode())
        await connection.execute(b"truncate per_message")
        first_sample: tuple[float, int] | None = None
        with RunningProcess("deploy.benchmarks.per_message", environment):
            deadline = time.monotonic() + SECONDS_MAX
            while time.monotonic() < deadline:
                row = await (await connection.execute(per_message.COUNT_COMMANDS.encode())).fetchone()
                now, count = time.monotonic(), int(row[0]) if row else 0
                if count and first_sample is None:
                    first_sample = now, count
                if first_sample is not None and count >= commands:
                    return (count - first_sample[1]) / (now - first_sample[0])
                await asyncio.sleep(0.01)
    raise TimeoutError(f"less than {commands} messages were stored in {SECONDS_MAX} s: see .state/bench.log")


async def bare_consumer(installation: BenchInstallation, records: int) -> float:
    """Records a second that aiokafka hands out when nothing is done with them."""
    partitions = [TopicPartition(full_topic_name(installation.prefix, "commands"), shard) for shard in ALL_SHARDS]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=installation.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
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
