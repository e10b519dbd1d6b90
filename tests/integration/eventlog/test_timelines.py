"""A real failover raises the timeline that a process sees; the former primary is refused when it comes back."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from deploy.local.cluster import PostgresPair
from deploy.local.paths import database_folder
from deploy.local.postgres import create_database
from services.config.database import FormerPrimary
from services.eventlog.migrate import migrate
from services.eventlog.postgres import READER, WRITER, connect, create_pool
from services.eventlog.timelines import READ_TIMELINE
from tests.fixtures.system import RUN_PREFIX


@pytest.fixture
def pair() -> Iterator[PostgresPair]:
    pair = PostgresPair(database_folder(f"{RUN_PREFIX}-timelines"))
    pair.folder.mkdir(parents=True, exist_ok=True)
    try:
        pair.start()
        create_database(pair.primary.address, "log")
        migrate(pair.database_url("log"))
        yield pair
    finally:
        pair.kill()
        pair.remove()


async def test_former_primary_that_comes_back_is_refused_and_the_promoted_one_is_not(pair: PostgresPair) -> None:
    url = pair.database_url("log")
    await (await connect(url, "test", WRITER)).close()
    pair.fail_over()
    await (await connect(url, "test", WRITER)).close()

    former, promoted = pair.standby, pair.primary
    former.start()
    with psycopg.connect(former.address) as returned:
        assert returned.execute("select pg_is_in_recovery()").fetchone() == (False,)
    with pytest.raises(FormerPrimary, match="timeline 1; this process has seen 2"):
        await connect(former.address, "test", WRITER)
    pool = await create_pool(former.address, "test", READER, connections_max=1, seconds_max=5)
    with pytest.raises(FormerPrimary):
        await pool.fetchval("select 1")
    pool.terminate()
    await (await connect(promoted.address, "test", WRITER)).close()


async def test_role_without_privileges_may_read_the_timeline(database_url: str) -> None:
    connection = await connect(database_url, "test", READER)
    row = await connection.fetchrow(READ_TIMELINE)
    await connection.close()
    assert row is not None
    assert (row["system"] > 0, row["timeline"] >= 1) == (True, True)


async def test_server_that_does_not_tell_its_timeline_is_accepted(database_url: str, postgres: str) -> None:
    administrator = await asyncpg.connect(urlsplit(postgres)._replace(path=urlsplit(database_url).path).geturl())
    # Privileges on functions belong to the database.
    await administrator.execute("revoke execute on function pg_control_system() from public")
    try:
        connection = await connect(database_url, "test", READER)
        assert await connection.fetchval("select current_user") == READER
        await connection.close()
    finally:
        await administrator.execute("grant execute on function pg_control_system() to public")
        await administrator.close()
