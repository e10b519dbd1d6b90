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
ANSWER_SECONDS_MAX = 60
"""A question that PostgreSQL has not answered by then fails."""
AWAY = (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What is raised where PostgreSQL does not answer, or nobody knows what it did."""
LEAVE_SECONDS_MAX = 2
T = TypeVar("T")


class Attended(asyncpg.Connection):
    """A connection that tells how long it may keep its owner: ``beat(seconds)`` before a question, ``beat()`` after it.

    So whoever watches over its owner knows a slow server from an owner that is stuck.
    """

    beat: Callable[..., None] = staticmethod(lambda *seconds: None)

    async def execute(self, *question: Any, **options: Any) -> Any:
        return await self.attended(super().execute(*question, **options))

    async def fetch(self, *question: Any, **options: Any) -> Any:
        return await self.attended(super().fetch(*question, **options))

    async def fetchrow(self, *question: Any, **options: Any) -> Any:
        return await self.attended(super().fetchrow(*question, **options))

    async def fetchval(self, *question: Any, **options: Any) -> Any:
        return await self.attended(super().fetchval(*question, **options))

    def cursor(self, *question: Any, **options: Any) -> Any:
        return self._cursor(super().cursor(*question, **options))

    async def _cursor(self, factory: Awaitable[Any]) -> "AttendedCursor":
        return AttendedCursor(self, await self.attended(factory))

    async def attended(self, answer: Awaitable[T]) -> T:
        """An answer of this connection, once it is there."""
        self.beat(ANSWER_SECONDS_MAX + 5)
        try:
            return await answer
        finally:
            self.beat()


class AttendedCursor:
    """A cursor of such a connection."""

    def __init__(self, connection: Attended, cursor: Any) -> None:
        self._connection = connection
        self._cursor = cursor

    async def fetch(self, rows_max: int) -> Any:
        """The next rows."""
        return await self._connection.attended(self._cursor.fetch(rows_max))


async def connect(url: str, process: str, role: str) -> Attended:
    """A connection of a process (as PostgreSQL's own views will call it) with a role's rights.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: PostgreSQL does not answer, or refuses.
    """
    settings = server_settings(process, role)
    return await asyncpg.connect(
        url, timeout=5, command_timeout=ANSWER_SECONDS_MAX, connection_class=Attended, server_settings=settings
    )


async def leave(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Close a connection, also of a server that has stopped to answer."""
    with contextlib.suppress(TimeoutError):
        await connection.close(timeout=LEAVE_SECONDS_MAX)


def pool(url: str, process: str, role: str, connections_max: int, seconds_max: float) -> Pool:
    """A pool of such connections for queries that leave nothing in their session; it connects when it is used."""
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=connections_max,
        reset=_keep_session,
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


async def _keep_session(_: Any) -> None:
    """asyncpg would ask for a reset at each release: a round trip more for each query."""


_OLD_SCHEMA = (
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidParameterValueError,
)


def trouble(error: Exception) -> str:
    """What is wrong with PostgreSQL and, where it does not mend itself, the remedy; no values of any command."""
    name = type(error).__name__
    if isinstance(error, _OLD_SCHEMA):
        return f"the log's schema is not the one this version needs ({name}): run python -m services.eventlog.migrate"
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return f"PostgreSQL refuses ({name}): grant {WRITER}, {READER} and {OPERATOR} to DATABASE_URL's user"
    return f"PostgreSQL does not answer: {name}"
