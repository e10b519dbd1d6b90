"""The service that compose started, and its clients outside of the containers."""

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.paths import ROOT, free_port, wait_until_ready
from services.kafka.client_options import client_options
from tests.fixtures.process_runner import wait_until
from tests.system.containers.conftest import Engine

COMPOSE_FILE = ROOT / "deploy/compose.yaml"
PROCESSES = ("handler", "relay", "gateway", "scheduler", "console")
PORTS = ("KAFKA_PORT", "KAFKA_PORT_2", "KAFKA_PORT_3", "GATEWAY_PORT", "CONSOLE_PORT", "PROMETHEUS_PORT")
READY_SECONDS = 240
DEADLINE_SECONDS = 90


class Composition:
    """The service in one profile, on free ports. ``profile`` None: what compose starts if no profile is given."""

    def __init__(self, engine: Engine, profile: str | None = None) -> None:
        self.engine = engine
        self.profile = profile
        self.project = f"mg{os.getpid()}{profile or ''}"
        self._container_ids: dict[str, str] = {}
        self.ports = {name: str(free_port()) for name in PORTS}
        self.processes = [f"{profile}-{name}" if profile else name for name in PROCESSES]

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run compose and return its output."""
        command = ["docker-compose", "--project-name", self.project, "--file", str(COMPOSE_FILE)]
        command += ["--profile", self.profile] if self.profile else []
        heap = {"KAFKA_HEAP_OPTS": "-Xmx256m -Xms128m"}
        environment = {**self.engine.environment, **self.ports, **heap}
        ended = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert ended.returncode == 0 or not check, ended.stderr[-3_000:]
        return ended.stdout

    def container_id(self, service: str) -> str:
        """Return the id of a service's container."""
        if service not in self._container_ids:
            self._container_ids[service] = self.compose("ps", "--quiet", service).strip()
        return self._container_ids[service]

    def state(self, service: str) -> dict[str, Any]:
        """Return the engine's description of the state of a service's container."""
        [described] = json.loads(self.engine.docker("inspect", self.container_id(service)).stdout)
        state = described["State"]
        assert isinstance(state, dict)
        return state

    def health(self, service: str) -> str:
        """Return the engine's result of the service's health probe."""
        state = self.state(service)
        return str(state.get("Health", {}).get("Status", state["Status"]))

    def wait_until_healthy(self) -> None:
        """Wait for the health probe of every process."""
        for service in self.processes:
            is_healthy = wait_until_ready(partial(self._is_healthy, service), lambda: True, READY_SECONDS)
            assert is_healthy, (service, self.health(service), self.compose("logs", "--tail", "20", service))

    def _is_healthy(self, service: str) -> bool:
        return self.health(service) == "healthy"

    def address(self, *ports: str) -> str:
        """Return the bootstrap addresses of the brokers with these ports."""
        host = "localhost" if self.profile == "secure" else "127.0.0.1"
        return ",".join(f"{host}:{self.ports[port]}" for port in ports)

    def token(self, user_id: int, scope: str) -> str:
        """Issue a token with the key that the keys job created."""
        issue = ["moderated-grading", "admin", "issue-token", "/keys/issuer.key", str(user_id), "--scope", scope]
        return self.compose("run", "--rm", "keys", *issue).strip().splitlines()[-1]


@contextmanager
def composed(engine: Engine, profile: str | None = None) -> Iterator[Composition]:
    """Start the service in a profile, wait until it is healthy, and remove it at the end."""
    composition = Composition(engine, profile)
    try:
        composition.compose("up", "--detach")
        composition.wait_until_healthy()
        yield composition
    finally:
        composition.compose("down", "--volumes", "--timeout", "10", check=False)


@asynccontextmanager
async def producer_at(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """Yield a producer that waits for all replicas and sends each record once."""
    async with AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True) as producer:
        yield producer


async def send(producer: AIOKafkaProducer, commands: Sequence[dict[str, Any]]) -> None:
    """Send commands, each after its predecessor was stored."""
    for command in commands:
        value, key = json.dumps(command).encode(), command["course_id"].encode()
        await producer.send_and_wait("moderation.commands", value, key=key)


async def read_records(bootstrap: str, topic: str, count: int, group: str | None = None) -> list[dict[str, Any]]:
    """Read a topic from its beginning until it has ``count`` records and no more arrive; return the values."""
    values: list[dict[str, Any]] = []
    consumer = AIOKafkaConsumer(
        f"moderation.{topic}",
        **client_options(bootstrap),
        group_id=group,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )

    async def has_all() -> bool:
        records = [record for batch in (await consumer.getmany(timeout_ms=500)).values() for record in batch]
        values.extend(json.loads(record.value or b"null") for record in records)
        return len(values) >= count and not records

    async with consumer, asyncio.timeout(DEADLINE_SECONDS):
        await wait_until(has_all, f"{count} records are on {topic}", DEADLINE_SECONDS)
    return values


def count_verdicts(verdicts: Sequence[dict[str, Any]]) -> Counter[str]:
    """Return how many verdicts each command has."""
    return Counter(verdict["command_id"] for verdict in verdicts)
