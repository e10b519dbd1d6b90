"""Connections to the log that may do no more than their process needs, and give up rather than hang."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
WRITER = "moderation_writer"
"""May add to the log; nobody may change it."""
READER = "moderation_reader"
OPERATOR = "moderation_operator"
"""Reads, and keeps what operators do."""
QUERY_SECONDS_MAX = 60
"""A question that PostgreSQL has not answered by then fails."""
CLOSE_SECONDS_MAX = 2
T = TypeVar("T")


class HeartbeatConnection(asyncpg.Connection):
    """A connection that tells how long it may keep its owner: ``beat(seconds)`` before a question, ``beat()`` after it.

    So whoever watches over its owner knows a slow server from an owner that is stuck.
    """

    heartbeat: Callable[..., None] = staticmethod(lambda *seconds: None)

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        return await self.with_heartbeat(super().execute(*arguments, **options))

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        return await self.with_heartbeat(super().fetch(*arguments, **options))

    async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
        return await self.with_heartbeat(super().fetchrow(*arguments, **options))

    async def fetchval(self, *arguments: Any, **options: Any) -> Any:
        return await self.with_heartbeat(super().fetchval(*arguments, **options))

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        return self._open_cursor(super().cursor(*arguments, **options))

    async def _open_cursor(self, factory: Awaitable[Any]) -> "HeartbeatCursor":
        return HeartbeatCursor(self, await self.with_heartbeat(factory))

    async def with_heartbeat(self, query: Awaitable[T]) -> T:
        """An answer of this connection, once it is there."""
        self.heartbeat(QUERY_SECONDS_MAX + 5)
        try:
            return await query
        finally:
            self.heartbeat()


class HeartbeatCursor:
    """A cursor of such a connection."""

    def __init__(self, connection: HeartbeatConnection, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor

    async def fetch(self, rows_max: int) -> Any:
        """The next rows."""
        return await self._connection.with_heartbeat(self._cursor.fetch(rows_max))


async def connect(url: str, process: str, role: str) -> HeartbeatConnection:
    """A connection of a process (as PostgreSQL's own views will call it) with a role's rights.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: PostgreSQL does not answer, or refuses.
    """
    settings = server_settings(process, role)
    return await asyncpg.connect(
        url,
        timeout=5,
        command_timeout=QUERY_SECONDS_MAX,
        connection_class=HeartbeatConnection,
        server_settings=settings,
    )


async def close_quickly(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection, also of a server that has stopped to answer."""
    with contextlib.suppress(TimeoutError):
        await connection.close(timeout=CLOSE_SECONDS_MAX)


def create_pool(url: str, process: str, role: str, connections_max: int, seconds_max: float) -> Pool:
    """A pool of such connections for queries that leave nothing in their session; it connects when it is used."""
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=connections_max,
        reset=_skip_reset,
        timeout=5,
        command_timeout=seconds_max,
        server_settings=server_settings(process, role),
    )


def server_settings(process: str, role: str) -> dict[str, str]:
    """Of a connection of a process with a role's rights."""
    return {
        "application_name": f"moderation-{process}",
        "role": role,
        "jit": "off",
        "lock_timeout": "10s",
        "statement_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
    }


async def _skip_reset(_: Any) -> None:
    """asyncpg would ask for a reset at each release: a round trip more for each query."""
