"""Who waits is told for what: a server that does not answer is named after seconds, and given up after half a minute.

The libraries' own patience differs from one question to the next, up to minutes; so the servers are asked for a sign of
life beside the work, over connections of their own: a question that takes long is no silence.
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
from aiokafka.errors import KafkaError
from rich.console import Console

from services.console.cli.options import DoesNotAnswer

SAY_SECONDS = 5.0
GIVE_UP_SECONDS = 30.0
BETWEEN_SECONDS = 3.0
AGAIN_SECONDS = 1.0
ANSWER_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Server:
    """``place``: its name and address, for people; ``answers``: whether it gives a sign of life now."""

    place: str
    answers: Callable[[], Awaitable[bool]]


def kafka(bootstrap: str) -> Server:
    """One broker that answers is enough."""
    return Server(f"Kafka at {bootstrap}", partial(_kafka_answers, bootstrap))


def postgresql(url: str) -> Server:
    """Named without user and password."""
    return Server(f"PostgreSQL at {urlsplit(url).netloc.rpartition('@')[2]}", partial(_postgresql_answers, url))


async def _kafka_answers(bootstrap: str) -> bool:
    client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=int(ANSWER_SECONDS_MAX * 1_000))
    try:
        await client.bootstrap()
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await client.close()
    return True


async def _postgresql_answers(url: str) -> bool:
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS_MAX)
    except (OSError, TimeoutError):
        return False
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return True  # It refuses us, and says so: the work hears that itself.
    connection.terminate()
    return True


@contextlib.asynccontextmanager
async def attended(*servers: Server) -> AsyncIterator[None]:
    """Say on standard error which server the block waits for, and end the block where one stays silent.

    Raises:
        DoesNotAnswer: a server gave no sign of life for GIVE_UP_SECONDS.
    """
    silent: list[str] = []
    try:
        async with asyncio.timeout(None) as limit:
            watches = [asyncio.create_task(_watch(server, limit, silent)) for server in servers]
            try:
                yield
            finally:
                for watch in watches:
                    watch.cancel()
                await asyncio.gather(*watches, return_exceptions=True)
    except TimeoutError:
        if limit.expired():
            raise DoesNotAnswer(f"{silent[0]} has not answered for {GIVE_UP_SECONDS:.0f} s") from None
        raise


async def _watch(server: Server, limit: asyncio.Timeout, silent: list[str]) -> None:
    answered, is_said, rest = time.monotonic(), False, BETWEEN_SECONDS
    while time.monotonic() - answered < GIVE_UP_SECONDS:
        await asyncio.sleep(rest)
        is_there = await server.answers()
        rest = BETWEEN_SECONDS if is_there else AGAIN_SECONDS
        if is_there:
            if is_said:
                _say(f"{server.place} answers again")
            answered, is_said = time.monotonic(), False
        elif not is_said and time.monotonic() - answered > SAY_SECONDS:
            left = answered + GIVE_UP_SECONDS - time.monotonic()
            until = datetime.now(UTC) + timedelta(seconds=left)
            _say(f"{server.place} does not answer; still trying, until {until:%H:%M:%S} UTC")
            is_said = True
    silent.append(server.place)
    limit.reschedule(asyncio.get_running_loop().time())


def _say(text: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)
