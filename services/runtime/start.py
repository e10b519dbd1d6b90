"""Waits for what a process needs before it starts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.runtime.errors import POSTGRES_ERRORS, describe_error

LOGGER = logging.getLogger("start")
RETRY_SECONDS = 1.0
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
