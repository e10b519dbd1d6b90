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
