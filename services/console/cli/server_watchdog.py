"""Names a server that does not answer after 5 s, and aborts the command after 30 s.

It probes each server on a separate connection, concurrently with the work. Client timeouts and ``asyncio.timeout`` are
not enough: a slow query or an hour of verification is not an outage, aiokafka retries a fetch or a commit without end,
and neither client reports anything before its timeout, which differs by minutes from call to call.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import asyncpg
from aiokafka.client import AIOKafkaClient
from rich.console import Console

from services.kafka.client_options import client_options
from services.runtime.errors import KAFKA_ERRORS, POSTGRES_CLIENT_ERRORS, ServerSilent

WARN_AFTER_SECONDS = 5.0
ABORT_AFTER_SECONDS = 30.0
PROBE_SECONDS = 3.0
REPROBE_SECONDS = 1.0
ANSWER_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server to probe; ``label`` names it with its address."""

    label: str
    is_answering: Callable[[], Awaitable[bool]]


def kafka_server(bootstrap: str) -> Server:
    """Return the probe of Kafka, which counts as up while one broker answers."""
    return Server(f"Kafka at {bootstrap}", partial(_kafka_answers, bootstrap))


def postgresql_server(url: str) -> Server:
    """Return the probe of PostgreSQL, labelled without user and password."""
    return Server(f"PostgreSQL at {urlsplit(url).netloc.rpartition('@')[2]}", partial(_postgresql_answers, url))


async def _kafka_answers(bootstrap: str) -> bool:
    client = AIOKafkaClient(**client_options(bootstrap), request_timeout_ms=int(ANSWER_SECONDS_MAX * 1_000))
    try:
        await client.bootstrap()
    except KAFKA_ERRORS:
        return False
    finally:
        await client.close()
    return True


async def _postgresql_answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS_MAX)
    except OSError:
        return False
    except POSTGRES_CLIENT_ERRORS:
        return True  # It answers, with a refusal that the command will get too.
    connection.terminate()
    return True


@contextlib.asynccontextmanager
async def fail_if_silent(*servers: Server) -> AsyncIterator[None]:
    """Report on standard error which server the block waits for, and cancel the block if one stays silent.

    Raises:
        ServerSilent: a server has not answered for ABORT_AFTER_SECONDS.
    """
    silent_servers: list[str] = []
    try:
        async with asyncio.timeout(None) as timeout:
            tasks = [asyncio.create_task(_watch_server(server, timeout, silent_servers)) for server in servers]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    except TimeoutError:
        if timeout.expired():
            raise ServerSilent(f"{silent_servers[0]} has not answered for {ABORT_AFTER_SECONDS:.0f} s") from None
        raise


async def _watch_server(server: Server, timeout: asyncio.Timeout, silent_servers: list[str]) -> None:
    last_answer_at, is_reported, pause = time.monotonic(), False, PROBE_SECONDS
    while time.monotonic() - last_answer_at < ABORT_AFTER_SECONDS:
        await asyncio.sleep(pause)
        is_answering = await server.is_answering()
        pause = PROBE_SECONDS if is_answering else REPROBE_SECONDS
        if is_answering:
            if is_reported:
                _report(f"{server.label} answers again")
            last_answer_at, is_reported = time.monotonic(), False
        elif not is_reported and time.monotonic() - last_answer_at > WARN_AFTER_SECONDS:
            seconds_left = last_answer_at + ABORT_AFTER_SECONDS - time.monotonic()
            deadline = datetime.now(UTC) + timedelta(seconds=seconds_left)
            _report(f"{server.label} does not answer; still trying, until {deadline:%H:%M:%S} UTC")
            is_reported = True
    silent_servers.append(server.label)
    timeout.reschedule(asyncio.get_running_loop().time())


def _report(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
