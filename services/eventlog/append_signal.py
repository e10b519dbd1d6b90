"""Wakes readers of the log when a writer has appended (LISTEN and NOTIFY), so that they need not poll frequently.

A signal may be lost with its connection or its writer, so readers still poll from time to time.
"""

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any

import asyncpg

CHANNEL = "appended"
NOTIFY = f"select pg_notify('{CHANNEL}', $1)"


async def notify_appended(connection: "asyncpg.Connection[asyncpg.Record]", shards: Collection[int]) -> None:
    """Wake the readers of shards. Raises POSTGRES_ERRORS.

    Call it after the append's transaction: PostgreSQL commits transactions that notify one after the other, so that
    each writer would wait for the others' disk. A transaction that only notifies does not wait for the disk.
    """
    await connection.fetchval(NOTIFY, ",".join(map(str, shards)))


class AppendSignal:
    """Set when rows of one of the shards were appended, from :meth:`listen` on."""

    def __init__(self, shards: Collection[int]) -> None:
        self._shards = {str(shard) for shard in shards}
        self._appended = asyncio.Event()

    async def listen(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Listen over a connection until it is closed. Raises POSTGRES_ERRORS."""
        await connection.add_listener(CHANNEL, self._receive)

    def clear(self) -> None:
        """Forget the appends so far. Call it before the query that reads them."""
        self._appended.clear()

    async def wait(self, seconds_max: float) -> None:
        """Wait until rows were appended since the last ``clear``, at most ``seconds_max``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self._appended.wait()

    def _receive(self, _connection: Any, _process_id: int, _channel: str, shards: object) -> None:
        if not self._shards.isdisjoint(str(shards).split(",")):
            self._appended.set()
