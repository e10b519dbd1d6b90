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
from deploy.benchmarks.environment import Installation
from deploy.benchmarks.processes import Running
from services.kafka.partitioning import SHARDS
from services.kafka.topics import topic

SECONDS_MAX = 120


class Marking(Aggregate):
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
    parts = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.removeprefix("/"),
        "POSTGRES_HOST": str(parts.hostname),
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": str(parts.username),
        "POSTGRES_PASSWORD": parts.password or "none",
    }
    with Application[uuid.UUID](env=environment) as application:
        marking = Marking()
        application.save(marking)
        begun = time.perf_counter()
        for number in range(commands):
            marking.grade(str(number % 300), number % 101)
            application.save(marking)
        return commands / (time.perf_counter() - begun)


async def faststream_per_message(installation: Installation, commands: int) -> float:
    """Messages a second that :mod:`per_message` settles, from the first to the last of so many."""
    environment = installation.environment | {
        "TOPIC": topic(installation.prefix, "commands"),
        "GROUP": f"{installation.prefix}-{uuid.uuid4()}",
    }
    async with await psycopg.AsyncConnection.connect(installation.url, autocommit=True) as connection:
        await connection.execute(per_message.TABLE.encode())
        await connection.execute(b"truncate per_message")
        first: tuple[float, int] | None = None
        with Running("deploy.benchmarks.per_message", environment):
            deadline = time.monotonic() + SECONDS_MAX
            while time.monotonic() < deadline:
                row = await (await connection.execute(per_message.COUNT.encode())).fetchone()
                now, count = time.monotonic(), int(row[0]) if row else 0
                if count and first is None:
                    first = now, count
                if first is not None and count >= commands:
                    return (count - first[1]) / (now - first[0])
                await asyncio.sleep(0.01)
    raise TimeoutError(f"less than {commands} messages were stored in {SECONDS_MAX} s: see .state/bench.log")


async def bare_consumer(installation: Installation, records: int) -> float:
    """Records a second that aiokafka hands out when nothing is done with them."""
    places = [TopicPartition(topic(installation.prefix, "commands"), shard) for shard in range(SHARDS)]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=installation.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign(places)
        seen, begun = 0, time.perf_counter()
        while seen < records:
            found = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
            seen += sum(len(batch) for batch in found.values())
        return seen / (time.perf_counter() - begun)
    finally:
        await consumer.stop()
