"""Connections to the log, each with the rights of one role, and with timeouts."""

import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg

from services.eventlog.session import CONNECT_SECONDS_MAX, prepare_session

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
WRITER = "moderation_writer"
"""Reads and appends; no role may change the log."""
READER = "moderation_reader"
OPERATOR = "moderation_operator"
"""Reads, and records operators' actions."""
BOUND_OPERATOR = "moderation_bound_operator"
"""Reads what belongs to the root account that its login is bound to, and records its own access."""
QUERY_SECONDS_MAX = 60
"""Timeout of a query."""
CLOSE_SECONDS_MAX = 2
T = TypeVar("T")


class HeartbeatConnection(asyncpg.Connection):
    """A connection that calls ``heartbeat(seconds)`` before each query and ``heartbeat()`` after it.

    The liveness check can thus distinguish a slow server from a stuck loop. A liveness limit above the query timeout
    would notice a stuck loop only after a minute, and would end a process during a batch of several slow queries.
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
        POSTGRES_ERRORS: PostgreSQL does not answer, or refuses; FormerPrimary is one of them.
        SessionModeRequired: DATABASE_URL leads to a pooler that does not keep one session for a connection.
    """
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS_MAX,
        command_timeout=QUERY_SECONDS_MAX,
        connection_class=HeartbeatConnection,
        server_settings={"application_name": f"moderation-{process}"},
    )
    try:
        await prepare_session(connection, url, role)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect_operator(url: str, process: str, role: str) -> HeartbeatConnection:
    """Connect with a role's rights or, for a login that is bound to one root account, with those of BOUND_OPERATOR.

    Raises as :func:`connect`.
    """
    try:
        return await connect(url, process, role)
    except asyncpg.InsufficientPrivilegeError as refusal:
        try:
            return await connect(url, process, BOUND_OPERATOR)
        except asyncpg.InsufficientPrivilegeError:
            raise refusal from None


async def close_quickly(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection within CLOSE_SECONDS_MAX, even if the server does not answer."""
    with contextlib.suppress(TimeoutError):
        await connection.close(timeout=CLOSE_SECONDS_MAX)


def create_pool(url: str, process: str, role: str, connections_max: int, seconds_max: float) -> Pool:
    """Create a pool for queries that do not change their session; it connects on first use."""
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=connections_max,
        init=functools.partial(prepare_session, url=url, role=role),
        reset=_skip_reset,
        timeout=CONNECT_SECONDS_MAX,
        command_timeout=seconds_max,
        server_settings={"application_name": f"moderation-{process}"},
    )


async def _skip_reset(_: Any) -> None:
    """Do nothing: asyncpg's reset at each release would cost a round trip for each query."""
