"""While PostgreSQL or Kafka is down, every process stays live, becomes not ready within seconds, and recovers."""

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
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import send_all
from tests.fixtures.process_runner import Process, wait_until
from tests.fixtures.system import RUN_PREFIX, System
from tests.fixtures.token_issuer import TokenIssuer
from tests.integration.telemetry.test_json_logging import NAME, assert_no_content_logged

SECONDS_MAX = 5
ALIVE = (200, "live")
POLL_SECONDS = 0.05
STANDS_STILL_SECONDS = 20
"""So long the machine may do nothing for us."""


class TcpProxy:
    """A proxy to a server. It can be cut: then it drops all connections and accepts no new ones."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.server: asyncio.Server | None = None
        self.listen_port = free_port()
        self.ends: set[asyncio.StreamWriter] = set()

    async def restore(self) -> None:
        self.server = await asyncio.start_server(self._connected, "127.0.0.1", self.listen_port)

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
async def postgres_proxy(system: System) -> AsyncIterator[TcpProxy]:
    """The system's only way to PostgreSQL."""
    url = urlsplit(system.database_url)
    proxy = TcpProxy(url.hostname or "", url.port or 5432)
    await proxy.restore()
    system.database_url = urlunsplit(url._replace(netloc=url.netloc.replace(str(url.port), str(proxy.listen_port))))
    yield proxy
    for process in system.processes:
        process.kill()
    await proxy.cut()


async def assert_health(processes: list[Process], status: int, reason: str) -> None:
    """Wait until each readiness endpoint has that status and reason; check that all processes stay live."""
    started_at = time.monotonic()
    waiting = list(processes)
    while waiting:
        assert time.monotonic() - started_at < SECONDS_MAX + STANDS_STILL_SECONDS, [
            process.get_readiness() for process in waiting
        ]
        assert [await asyncio.to_thread(process.get_health_page, "live") for process in processes] == [ALIVE] * len(
            processes
        )
        pages = [(process, await asyncio.to_thread(process.get_readiness)) for process in waiting]
        waiting = [process for process, (found, text) in pages if found != status or reason not in text]
        await asyncio.sleep(POLL_SECONDS)


def test_outage_detection_timeouts_sum_to_less_than_five_seconds() -> None:
    assert server_monitor.CHECK_INTERVAL_SECONDS + server_monitor.CHECK_SECONDS_MAX < SECONDS_MAX
    assert command_producer.PROBE_SECONDS + command_producer.PROBE_TIMEOUT_SECONDS < SECONDS_MAX
    assert verdict_waiter.RETRY_SECONDS + server_monitor.CHECK_SECONDS_MAX < SECONDS_MAX


def read_server_up(process: Process) -> float:
    return process.get_metric("moderation_server_up", server="postgresql")


async def test_processes_stay_live_and_recover_after_server_outages(
    system: System, postgres_proxy: TcpProxy, issuer: TokenIssuer
) -> None:
    jwks = str(issuer.write_jwks(system.folder / "users.jwks"))
    handler = system.create_process("handler", COMMAND_AUTH="required", JWKS=jwks)
    relay = system.create_process("relay", HEALTH_HOST="127.0.0.2")
    processes = [handler, relay, system.create_gateway(issuer)]
    for process in processes:
        process.start()
    for process in processes:
        await process.wait_until_ready()
    assert handler.get_metric("moderation_auth_failures_total", reason="missing") == 0
    assert 0 <= handler.get_metric("moderation_jwks_age_seconds") < 60

    await postgres_proxy.cut()
    await assert_health(processes, 503, "PostgreSQL does not answer")
    await wait_until(
        lambda: not any(read_server_up(process) for process in processes), "it is told that PostgreSQL is not up"
    )
    await send_all(system, [World().command("upsert_course", {"name": NAME}) for _ in range(3)])
    await wait_until(lambda: handler.get_metric("moderation_consumer_lag_seconds") > 1, "undecided commands grow old")
    await postgres_proxy.restore()
    await assert_health(processes, 200, "ready")
    assert_no_content_logged(processes, {NAME})
    await wait_until(lambda: len(system.client.verdicts) == 3, "what came meanwhile is decided")
    await wait_until(
        lambda: handler.get_metric("moderation_auth_failures_total", reason="missing") == 3, "three had no token"
    )
    assert handler.get_metric("moderation_db_transactions_total", outcome="failed") > 0

    broker = backing_services.kafka_server(RUN_PREFIX)
    if not isinstance(broker, KafkaServer):
        return  # An external broker must not be paused.
    pid = broker.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        await assert_health(processes, 503, "Kafka does not answer")
    finally:
        os.kill(pid, signal.SIGCONT)
    await assert_health(processes, 200, "ready")
