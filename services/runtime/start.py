"""Waiting for what a process needs before it starts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.runtime.errors import POSTGRES_ERRORS, describe_error

LOGGER = logging.getLogger("start")
RETRY_SECONDS = 1.0
T = TypeVar("T")


async def wait_for_postgres(read: Callable[[], Awaitable[T]]) -> T:
    """Return what ``read`` returns; while PostgreSQL is away, or the log not installed yet, try again and log why."""
    problem = None
    while True:
        try:
            return await read()
        except POSTGRES_ERRORS as error:
            if problem != (problem := describe_error(error)):
                LOGGER.warning("the start waits: %s", problem)
        await asyncio.sleep(RETRY_SECONDS)
