"""The session of a connection: its role, its settings, and a check that the connection keeps it.

Locks, roles and timeouts belong to a session. A pooler that gives a connection another backend for each transaction
loses them without an error: two relays would then run without locks, and a handler with its login's rights.
"""

import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg

from services.config.base import SettingsError
from services.eventlog.timelines import seen_timelines

CONNECT_SECONDS_MAX = 5
SESSION_SETTINGS: Mapping[str, str] = {
    "jit": "off",
    # A relay publishes committed rows: a commit that a crash or failover can still lose must not be visible.
    "synchronous_commit": "on",
    "lock_timeout": "10s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    # PostgreSQL ends the session, and releases its locks, about ten seconds after a client's host has lost power or
    # network. The default is two hours, for which a standby relay would wait.
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# These are statements because poolers refuse or drop start-up parameters.
PREPARE = "; ".join(f"set {name} = '{value}'" for name, value in SESSION_SETTINGS.items())
TOKEN = "moderation.session"
# Simple queries only: a prepared statement may itself be missing on another backend.
VERIFY_OWN_SESSION = """
do $$ begin
    if current_setting('{token}', true) is distinct from '{value}' or current_user <> '{role}' then
        raise exception 'another session' using errcode = 'MG001';
    end if;
end $$
"""
VERIFY_OTHER_SESSION = """
do $$ begin
    if current_setting('{token}', true) = '{value}' then
        raise exception 'the same session' using errcode = 'MG001';
    end if;
end $$
"""
SESSION_LOST = "MG001"
_verified_urls: set[str] = set()


class SessionModeRequired(SettingsError):
    """DATABASE_URL leads to a pooler in transaction or statement mode."""

    def __init__(self) -> None:
        super().__init__(
            "DATABASE_URL leads to a pooler that gives one connection several sessions of PostgreSQL; nothing was read"
            " or written. Session mode only: set the pooler's pool mode to session for this user and database, or set"
            " DATABASE_URL to PostgreSQL itself"
        )


async def prepare_session(connection: "asyncpg.Connection[Any]", url: str, role: str) -> None:
    """Set a new session's role and settings, and verify that the connection keeps it.

    The first connection of a process to ``url`` is verified while a second one is inside a transaction: a pooler gives
    the second one the session that the first has just used, and then has to give the first another one.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer, or refuses.
        SessionModeRequired: the connection does not keep its session.
        FormerPrimary: the server was left by a failover that this process has seen.
    """
    token = uuid.uuid4().hex
    await connection.execute(f"{PREPARE}; set role '{role}'; set {TOKEN} = '{token}'")
    is_first = url not in _verified_urls
    try:
        async with _other_client(url, token) if is_first else contextlib.nullcontext():
            await connection.execute(VERIFY_OWN_SESSION.format(token=TOKEN, value=token, role=role))
    except asyncpg.PostgresError as error:
        if error.sqlstate == SESSION_LOST:
            raise SessionModeRequired from None
        raise
    _verified_urls.add(url)
    await seen_timelines.check(connection)


@contextlib.asynccontextmanager
async def _other_client(url: str, token: str) -> AsyncIterator[None]:
    """Keep another client inside a transaction, and verify that it does not have the session with the token."""
    other = await asyncpg.connect(
        url, timeout=CONNECT_SECONDS_MAX, server_settings={"application_name": "moderation-session-check"}
    )
    try:
        await other.execute(f"begin; {VERIFY_OTHER_SESSION.format(token=TOKEN, value=token)}")
        yield
    finally:
        other.terminate()
