"""Deletes the keys of past days, which erases the contents of old dead letters."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import asyncpg

from services.eventlog.clocks import ClocksDiffer, verify_clock
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.postgres import HeartbeatConnection, close_quickly
from services.runtime.errors import POSTGRES_ERRORS, describe_error
from services.runtime.failpoints import failpoints

LOGGER = logging.getLogger("handler")
PERIOD_SECONDS = 3_600


async def delete_expired_keys(
    connect: Callable[[], Awaitable[HeartbeatConnection]], days: int, clock_difference_max: float
) -> None:
    """Delete the keys of days more than ``days`` ago every hour until cancelled.

    An outage of PostgreSQL, and clocks that differ by more than ``clock_difference_max`` seconds, only delay it.
    """
    while True:
        try:
            async with failpoints.around("handler.keys.connect"):
                connection = await connect()
            try:
                await delete_old_keys(connection, days, clock_difference_max)
            finally:
                await close_quickly(connection)
        except POSTGRES_ERRORS as error:
            LOGGER.warning("keys of past days were not deleted, retrying in an hour: %s", describe_error(error))
        except ClocksDiffer as error:
            LOGGER.warning("keys of past days were not deleted, retrying in an hour: %s", error)
        await asyncio.sleep(PERIOD_SECONDS)


async def delete_old_keys(
    connection: "asyncpg.Connection[asyncpg.Record]",
    days: int,
    clock_difference_max: float,
    clock: Callable[[], float] = time.time,
) -> int:
    """Delete the keys of days more than ``days`` ago by PostgreSQL's clock, if it agrees with this process's.

    ``clock`` returns the process's, in seconds since 1970. Returns the number of keys. Raises ClocksDiffer.
    """
    async with failpoints.around("handler.keys.delete_old_days"):
        asked_at = clock()
        now = await connection.fetchval("select clock_timestamp()")
        verify_clock(now.timestamp(), asked_at, clock(), clock_difference_max, "no key is deleted")
        return await EncryptionKeys(connection).delete_old_days(days)
