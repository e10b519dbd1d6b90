"""PostgreSQL and Kafka away: every process stays live, is soon known not to be ready, and heals by itself."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from deploy.local import backing_services
from deploy.local.kafka import KafkaServer
from deploy.local.paths import free_port
from services.gateway import command_producer, verdict_waiter
from services.runtime import server_monitor
from tests.cases.adapter import World
from tests.cases.tokens import Issuer
from tests.conftest import RUN, System
from tests.faults.steps import send_all
from tests.processes.running import Process, until
from tests.telemetry.test_logs import NAME, assert_discreet

SECONDS_MAX = 5
ALIVE = (200, "live")
STANDS_STILL_SECONDS = 20
"""So long the machine may do nothing for us."""


class Wire:
    """The way to a server, which can be cut: nobody gets through, and who was connected is so no more."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.server: asyncio.Server | None = None
        self.own_port = free_port()
        self.ends: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", self.own_port)

    async def cut(self) -> None:
        assert self.server is not None
        self.server.close()
        for end in self.ends:
            end.transport.abort()
        await self.server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self.host, self.port)
        ends = {writer, back}
        self.ends |= ends
        await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        self.ends -= ends

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def wire(system: System) -> AsyncIterator[Wire]:
    """The system's only way to PostgreSQL."""
    url = urlsplit(system.database_url)
    made = Wire(url.hostname or "", url.port or 5432)
    await made.mend()
    system.database_url = urlunsplit(url._replace(netloc=url.netloc.replace(str(url.port), str(made.own_port))))
    yield made
    for process in system.processes:
        process.kill()
    await made.cut()


async def say(processes: list[Process], status: int, about: str) -> None:
    """Soon each ready page has that status and says that; until then all of them stay live."""
    begun = time.monotonic()
    waiting = list(processes)
    while waiting:
        assert time.monotonic() - begun < SECONDS_MAX + STANDS_STILL_SECONDS, [process.health() for process in waiting]
        assert [await asyncio.to_thread(process.said_on, "live") for process in processes] == [ALIVE] * len(processes)
        pages = [(process, await asyncio.to_thread(process.health)) for process in waiting]
        waiting = [process for process, (found, said) in pages if found != status or about not in said]


def test_a_server_that_goes_away_is_known_to_within_five_seconds() -> None:
    assert server_monitor.CHECK_INTERVAL_SECONDS + server_monitor.CHECK_SECONDS_MAX < SECONDS_MAX
    assert command_producer.PROBE_SECONDS + command_producer.PROBE_TIMEOUT_SECONDS < SECONDS_MAX
    assert verdict_waiter.RETRY_SECONDS + server_monitor.CHECK_SECONDS_MAX < SECONDS_MAX


def up(process: Process) -> float:
    return process.told("moderation_server_up", server="postgresql")


async def test_servers_that_go_away_and_come_back(system: System, wire: Wire, issuer: Issuer) -> None:
    jwks = str(issuer.write_set(system.folder / "users.jwks"))
    handler = system.process("handler", COMMAND_AUTH="required", JWKS=jwks)
    relay = system.process("relay", HEALTH_HOST="127.0.0.2")
    processes = [handler, relay, system.gateway(issuer)]
    for process in processes:
        process.start()
    for process in processes:
        await process.ready()
    assert handler.told("moderation_auth_failures_total", reason="missing") == 0
    assert 0 <= handler.told("moderation_jwks_age_seconds") < 60

    await wire.cut()
    await say(processes, 503, "PostgreSQL does not answer")
    await until(lambda: not any(up(process) for process in processes), "it is told that PostgreSQL is not up")
    await send_all(system, [World().command("upsert_course", {"name": NAME}) for _ in range(3)])
    await until(lambda: handler.told("moderation_consumer_lag_seconds") > 1, "undecided commands grow old")
    await wire.mend()
    await say(processes, 200, "ready")
    assert_discreet(processes, {NAME})
    await until(lambda: len(system.outside.verdicts) == 3, "what came meanwhile is decided")
    await until(lambda: handler.told("moderation_auth_failures_total", reason="missing") == 3, "three had no token")
    assert handler.told("moderation_db_transactions_total", outcome="failed") > 0

    broker = backing_services.kafka_server(RUN)
    if not isinstance(broker, KafkaServer):
        return  # Somebody else's broker is left alone.
    pid = broker.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await say(processes, 503, "Kafka does not answer")
    finally:
        os.kill(pid, signal.SIGCONT)
    await say(processes, 200, "ready")
