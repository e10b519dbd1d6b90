"""Connections to the log: with the rights of one role, and with timeouts instead of hanging."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
WRITER = "moderation_writer"
"""Reads and appends; no role may change the log."""
READER = "moderation_reader"
OPERATOR = "moderation_operator"
"""Reads, and records operators' actions."""
QUERY_SECONDS_MAX = 60
"""Timeout of a query."""
CLOSE_SECONDS_MAX = 2
T = TypeVar("T")


class HeartbeatConnection(asyncpg.Connection):
    """A connection that calls ``heartbeat(seconds)`` before each query and ``heartbeat()`` after it.

    Liveness can then tell a slow server from a loop that is stuck. A liveness limit above the query timeout would do
    without this, but would notice a stuck loop after a minute, and would end a process during a batch of several slow
    queries.
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
        """Await a query between two heartbeats."""
        self.heartbeat(QUERY_SECONDS_MAX + 5)
        try:
            return await query
        finally:
            self.heartbeat()


class HeartbeatCursor:
    """A cursor of a HeartbeatConnection."""

    def __init__(self, connection: HeartbeatConnection, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor

    async def fetch(self, rows_max: int) -> Any:
        """Fetch the next rows."""
        return await self._connection.with_heartbeat(self._cursor.fetch(rows_max))


async def connect(url: str, process: str, role: str) -> HeartbeatConnection:
    """Connect with a role's rights; ``process`` is the application name in PostgreSQL's views.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer, or refuses.
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
    """Close a connection within CLOSE_SECONDS_MAX, also while the server does not answer."""
    with contextlib.suppress(TimeoutError):
        await connection.close(timeout=CLOSE_SECONDS_MAX)


def create_pool(url: str, process: str, role: str, connections_max: int, seconds_max: float) -> Pool:
    """Create a pool for queries that leave nothing in their session; it connects on first use."""
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
    """Return the session settings of a process with a role's rights."""
    return {
        "application_name": f"moderation-{process}",
        "role": role,
        "jit": "off",
        "lock_timeout": "10s",
        "statement_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
    }


async def _skip_reset(_: Any) -> None:
    """Do nothing: asyncpg's reset at each release would cost a round trip for each query."""
