"""Runs commands that read the log."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

import asyncpg

from services.config.database import DatabaseSettings
from services.console.cli.server_watchdog import fail_if_silent, postgresql_server
from services.eventlog.feed_history import FeedHistory, LogFilter
from services.eventlog.postgres import READER, close_quickly, connect, connect_operator
from services.runtime.command_line import NotFound, run_command

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def with_connection(work: Callable[[Connection], Awaitable[T]], *, of_account: bool = False) -> T:
    """Run a command that needs only the log; ``of_account`` as in :func:`open_connection`."""

    async def run_with_connection() -> T:
        async with open_connection(DatabaseSettings().url(), of_account=of_account) as connection:
            return await work(connection)

    return run_command(run_with_connection)


@contextlib.asynccontextmanager
async def open_connection(url: str, *, of_account: bool = False) -> AsyncIterator[Connection]:
    """Open a read-only connection; name PostgreSQL on standard error while it does not answer.

    ``of_account``: the data belongs to one root account, so that a login bound to it is sufficient.
    """
    async with fail_if_silent(postgresql_server(url)):
        connection = await (connect_operator if of_account else connect)(url, "cli", READER)
        try:
            yield connection
        finally:
            await close_quickly(connection)


async def require_existing(connection: Connection, log_filter: LogFilter) -> None:
    """Raise NotFound unless the log has the course or assignment, so that a typo does not silently select nothing."""
    if not await FeedHistory(connection).exists(log_filter):
        raise NotFound(f"the log has no events of {log_filter}: check the ids and the times")
