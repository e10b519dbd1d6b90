"""Waits for what a process needs before it starts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError

from services.runtime.errors import POSTGRES_ERRORS, describe_error

LOGGER = logging.getLogger("start")
RETRY_SECONDS = 1.0
OTHER_BROKER_SECONDS = 0.2
LOST_CONNECTIONS_MAX = 25
"""So often in a row, for at least 5 s, a connection may fail or be lost before no broker counts as reached at all."""
T = TypeVar("T")


async def wait_for_postgres(read: Callable[[], Awaitable[T]]) -> T:
    """Return the result of ``read``; while PostgreSQL is down or the log is not installed yet, log why and retry."""
    problem = None
    while True:
        try:
            return await read()
        except POSTGRES_ERRORS as error:
            if problem != (problem := describe_error(error)):
                LOGGER.warning("startup is waiting: %s", problem)
        await asyncio.sleep(RETRY_SECONDS)


async def wait_for_brokers(check: Callable[[], Awaitable[None]]) -> None:
    """Return once ``check`` passes; while a broker that it asks is away, log why and retry: it may ask another one.

    Raises what ``check`` raises otherwise, and KafkaConnectionError if no broker is reached in LOST_CONNECTIONS_MAX
    attempts. One such error says little: a broker that ends during the check raises it, too.
    """
    problem = None
    lost_connections = 0
    while True:
        try:
            return await check()
        except KafkaError as error:
            lost_connections = lost_connections + 1 if isinstance(error, KafkaConnectionError) else 0
            if lost_connections >= LOST_CONNECTIONS_MAX or not error.retriable:
                raise
            if problem != (problem := describe_error(error, "kafka")):
                LOGGER.warning("startup is waiting: %s", problem)
        await asyncio.sleep(OTHER_BROKER_SECONDS)
