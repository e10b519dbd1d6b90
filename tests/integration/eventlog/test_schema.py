"""The migrations create the schema in ``schema.sql``, for every owner with permission to create roles."""

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

import schemas
from deploy.local.postgres import create_database, database_url, drop_databases
from services.eventlog.migrate import LogExists, WrongEncoding, migrate
from services.eventlog.postgres import BOUND_OPERATOR, OPERATOR, READER, WRITER, connect
from tests import SERVERS_ARE_REMOVED
from tests.fixtures.system import RUN_PREFIX
from tests.integration.eventlog.catalog import read_schema

SCHEMA = (Path(schemas.__path__[0]) / "eventlog" / "schema.sql").read_text()
ROLES = (WRITER, READER, OPERATOR, BOUND_OPERATOR)
OWNER = f"{RUN_PREFIX}-owner"


@pytest.fixture(scope="module")
def shown_database(postgres: str, new_database: Callable[[], str]) -> str:
    """Create a database from ``schema.sql``."""
    url = create_database(postgres, f"{RUN_PREFIX}-shown")
    with psycopg.connect(url) as connection:
        connection.execute(SCHEMA)
    return url


@pytest.fixture
def database_of_an_ordinary_owner(postgres: str, new_database: Callable[[], str]) -> Iterator[str]:
    """Create an empty database whose owner may create roles but is not a superuser, as in managed services."""
    url = create_database(postgres, OWNER)
    password = uuid.uuid4().hex
    with psycopg.connect(postgres, autocommit=True) as administrator:
        owner = sql.Identifier(OWNER)
        administrator.execute(sql.SQL("create role {} login createrole password {}").format(owner, password))
        administrator.execute(sql.SQL("alter database {} owner to {}").format(owner, owner))
        if administrator.info.server_version >= 160_000:
            # Roles belong to the server. These are the grants that the owner would have if it had created the roles.
            for role in ROLES:
                grant = "grant {} to {} with admin true, inherit false, set false"
                administrator.execute(sql.SQL(grant).format(sql.Identifier(role), owner))
        yield urlsplit(url)._replace(netloc=f"{OWNER}:{password}@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
        # Dropping waits for a checkpoint of all the databases of the run.
        if SERVERS_ARE_REMOVED not in os.environ:
            drop_databases(postgres, OWNER)
            administrator.execute(sql.SQL("drop role {}").format(owner))


def test_migrations_and_schema_sql_create_the_same_schema(database_url: str, shown_database: str) -> None:
    with psycopg.connect(database_url) as migrated, psycopg.connect(shown_database) as shown:
        assert read_schema(migrated) == read_schema(shown)


@pytest.mark.parametrize(
    "change",
    [
        "alter table event add column note text",
        "alter table event alter column type type varchar(100)",
        "alter table event alter column recorded_at set default now()",
        "alter table verdict_body alter column key set not null",
        "alter table event set (fillfactor = 90)",
        "alter table event drop constraint event_stream_version_key",
        "alter table operator_action add check (user_id > 0)",
        "alter table shard enable trigger append_only",
        "alter table shard disable trigger append_only",
        "alter type event_row add attribute note text",
        "alter sequence stream_number cache 10",
        "alter function heads(smallint[]) volatile",
        "alter function append security definer",
        "comment on table shard is 'Shards'",
        "create or replace function refuse_change() returns trigger language plpgsql as 'begin return null; end'",
        "create table note (month date not null) partition by range (month)",
        "create view graded as select count(*) from event",
        "create policy readers on event for select using (true)",
        "create rule quiet as on delete to shard do instead nothing",
        "create statistics event_types on stream, type from event",
        "create schema archive",
        "drop index event_sis_source_id_hash",
        "grant delete on event to moderation_writer",
        "grant update (reason) on source to moderation_writer",
        "revoke execute on function append from public",
    ],
)
def test_difference_between_two_schemas_is_found(shown_database: str, change: str) -> None:
    with psycopg.connect(shown_database) as connection:
        before = read_schema(connection)
        connection.execute(change)
        assert read_schema(connection) != before
        connection.rollback()


async def test_an_owner_without_superuser_can_migrate_and_set_each_role(database_of_an_ordinary_owner: str) -> None:
    assert migrate(database_of_an_ordinary_owner) > 0
    for role in ROLES:
        connection = await connect(database_of_an_ordinary_owner, "test", role)
        try:
            assert await connection.fetchval("select current_user from heads('{1}')") == role
        finally:
            await connection.close()


def test_database_with_a_log_of_unknown_origin_is_not_changed(shown_database: str) -> None:
    with psycopg.connect(shown_database) as connection:
        before = read_schema(connection)
    with pytest.raises(LogExists, match="empty database"):
        migrate(shown_database)
    with psycopg.connect(shown_database) as connection:
        assert read_schema(connection) == before


def test_database_in_another_encoding_is_refused_with_the_remedy(postgres: str) -> None:
    name = f"{RUN_PREFIX}-ascii"
    with psycopg.connect(postgres, autocommit=True) as administrator:
        statement = "create database {} encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0"
        administrator.execute(sql.SQL(statement).format(sql.Identifier(name)))
    with pytest.raises(WrongEncoding, match="SQL_ASCII.*was not changed.*ENCODING 'UTF8'"):
        migrate(database_url(postgres, name))
