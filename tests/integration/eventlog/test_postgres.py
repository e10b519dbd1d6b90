"""Sessions have their role and settings, and connection errors count as outages."""

import uuid
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.eventlog.postgres import OPERATOR, READER, WRITER, connect, create_pool
from services.eventlog.session import SESSION_SETTINGS, SessionModeRequired
from services.runtime.errors import POSTGRES_ERRORS, describe_error
from tests.fixtures.connection_pooler import run_pooler

CURRENT_SETTINGS = "select name, current_setting(name) from unnest($1::text[]) name"


async def test_connecting_to_a_primary_where_a_standby_is_wanted_counts_as_an_outage(database_url: str) -> None:
    separator = "&" if urlsplit(database_url).query else "?"
    with pytest.raises(POSTGRES_ERRORS) as refused:
        await connect(f"{database_url}{separator}target_session_attrs=standby", "test", READER)

    assert describe_error(refused.value) == "PostgreSQL does not answer: TargetServerAttributeNotMatched"


@pytest.mark.parametrize("role", [WRITER, READER, OPERATOR])
async def test_session_has_its_role_and_settings(database_url: str, role: str) -> None:
    expected = {**SESSION_SETTINGS, "statement_timeout": "1min", "idle_in_transaction_session_timeout": "1min"}
    connection = await connect(database_url, "test", role)
    pool = await create_pool(database_url, "test", role, connections_max=1, seconds_max=5)
    try:
        for session in (connection, pool):
            assert await session.fetchval("select current_user") == role
            assert {row[0]: row[1] for row in await session.fetch(CURRENT_SETTINGS, list(expected))} == expected
    finally:
        await connection.close()
        await pool.close()


async def test_pooler_that_shares_sessions_between_clients_is_refused(database_url: str) -> None:
    async with run_pooler(database_url, "transaction") as url:
        with pytest.raises(SessionModeRequired, match="Session mode only: set the pooler's pool mode to session"):
            await connect(url, "test", WRITER)
        pool = await create_pool(url, "test", READER, connections_max=1, seconds_max=5)
        with pytest.raises(SessionModeRequired):
            await pool.fetchval("select 1")
        pool.terminate()


async def test_pooler_that_gives_each_client_a_session_is_supported(database_url: str) -> None:
    async with run_pooler(database_url, "session") as url:
        connection = await connect(url, "test", WRITER)
        assert await connection.fetchval("select current_user") == WRITER
        await connection.close()


async def test_session_is_checked_again_after_a_refusal(database_url: str) -> None:
    """A verified session counts only for its URL, and a refusal is not remembered as a success."""
    async with run_pooler(database_url, "transaction") as url:
        for _ in range(2):
            with pytest.raises(SessionModeRequired):
                await connect(url, "test", WRITER)


async def test_login_without_the_role_is_refused_by_postgresql(database_url: str, postgres: str) -> None:
    login = f"test_login_{urlsplit(database_url).path[1:].replace('-', '_')}"
    administrator = await asyncpg.connect(postgres)
    password = uuid.uuid4().hex
    await administrator.execute(f"create role {login} login password '{password}'")
    try:
        place = urlsplit(database_url).netloc.rpartition("@")[2]
        url = urlsplit(database_url)._replace(netloc=f"{login}:{password}@{place}", query="").geturl()
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refused:
            await connect(url, "test", WRITER)
    finally:
        await administrator.execute(f"drop role {login}")
        await administrator.close()
    assert "grant DATABASE_URL's user the role of this process" in describe_error(refused.value)
