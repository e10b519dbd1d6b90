"""Deletes the keys of past days, which erases the contents of old dead letters."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.postgres import HeartbeatConnection, close_quickly
from services.runtime.errors import POSTGRES_ERRORS, describe_error

LOGGER = logging.getLogger("handler")
PERIOD_SECONDS = 3_600


async def delete_expired_keys(connect: Callable[[], Awaitable[HeartbeatConnection]], days: int) -> None:
    """Delete the keys of days more than ``days`` ago every hour until cancelled; a PostgreSQL outage only delays it."""
    while True:
        try:
            connection = await connect()
            try:
                await EncryptionKeys(connection).delete_days_before(datetime.now(UTC).date() - timedelta(days))
            finally:
                await close_quickly(connection)
        except POSTGRES_ERRORS as error:
            LOGGER.warning("keys of past days were not deleted, retrying in an hour: %s", describe_error(error))
        await asyncio.sleep(PERIOD_SECONDS)
