"""Connections to the log that may do no more than their process needs, and give up rather than hang."""

import asyncpg

WRITER = "moderation_writer"
"""May add to the log; nobody may change it."""
READER = "moderation_reader"


async def connect(url: str, process: str, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of a process (as PostgreSQL's own views will call it) with a role's rights.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError: PostgreSQL does not answer, or refuses.
    """
    server_settings = {
        "application_name": f"moderation-{process}",
        "role": role,
        "jit": "off",
        "lock_timeout": "10s",
        "statement_timeout": "60s",
        "idle_in_transaction_session_timeout": "60s",
    }
    return await asyncpg.connect(url, timeout=5, command_timeout=60, server_settings=server_settings)


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
        return f"PostgreSQL refuses ({name}): grant {WRITER} and {READER} to DATABASE_URL's user"
    return f"PostgreSQL does not answer: {name}"
