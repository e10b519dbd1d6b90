"""``migrate`` reads every form of DATABASE_URL that the processes read, and fixes id and shards of an installation."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from psycopg import sql

import schemas
from deploy.local.paths import free_port
from deploy.local.postgres import create_database
from schemas.topics import DEFAULT_SHARD_COUNT
from services.eventlog.installation import read_installation
from services.eventlog.migrate import TRY_LOCK, MigrationRuns, ShardCountMismatch, migrate
from services.eventlog.postgres import WRITER, connect
from services.eventlog.table_changes import LOCK_SECONDS, TablesInUse
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX

URL_FORMS = [
    "postgres://{user}@{host}:{port}/{database}",
    "postgresql://{user}@{host}:{free},{host}:{port}/{database}",
    "postgresql://{user}@{host}:{free},{host}:{port}/{database}?target_session_attrs=read-write",
    "postgresql://{user}@/{database}?host={host}:{free},{host}:{port}",
    "postgresql://{user}@/{database}?host={host},{host}&port={free},{port}&target_session_attrs=read-write",
]


@pytest.fixture
def empty_database(postgres: str, new_database: Callable[[], str]) -> str:
    return create_database(postgres, f"{RUN_PREFIX}-{next(RUN_NUMBERS)}")


@pytest.mark.parametrize("form", URL_FORMS)
async def test_migrate_reads_every_form_of_url_that_the_processes_read(database_url: str, form: str) -> None:
    parts = urlsplit(database_url)
    places = {"host": parts.hostname, "port": parts.port, "free": free_port(), "database": parts.path[1:]}
    url = form.format(user=parts.netloc.rpartition("@")[0], **places)
    url += f"{'&' if '?' in url else '?'}{parts.query}" if parts.query else ""

    assert migrate(url) == 0

    connection = await connect(url, "test", WRITER)
    await connection.close()


@pytest.mark.parametrize("shard_count", [None, 1, 40])
async def test_installation_has_a_unique_id_and_the_chosen_number_of_shards(
    empty_database: str, database_url: str, shard_count: int | None
) -> None:
    migrate(empty_database, shard_count)

    installations = []
    for url in (empty_database, database_url):
        connection = await asyncpg.connect(url)
        installations.append(await read_installation(connection))
        shards = [row[0] for row in await connection.fetch("select shard from shard order by shard")]
        assert shards == list(installations[-1].shards)
        await connection.close()
    assert installations[0].shard_count == (shard_count or DEFAULT_SHARD_COUNT)
    assert installations[0].id != installations[1].id


async def test_number_of_shards_and_id_never_change(empty_database: str) -> None:
    migrate(empty_database, 3)
    connection = await asyncpg.connect(empty_database)
    installed = await read_installation(connection)

    with pytest.raises(ShardCountMismatch, match="the log has 3 shards, not 4"):
        migrate(empty_database, 4)
    assert migrate(empty_database) == migrate(empty_database, 3) == 0
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("insert into installation (shards) values (4)")

    assert await read_installation(connection) == installed
    await connection.close()


def test_migration_outside_a_transaction_builds_an_index_while_others_write(database_url: str, tmp_path: Path) -> None:
    index = "source_reason"
    (tmp_path / "0002_index.sql").write_text(
        "-- transactional: false\n"
        f"drop index concurrently if exists {index};\n"
        f"create index concurrently {index} on source (reason);\n"
    )
    with psycopg.connect(database_url) as writer:
        writer.execute("insert into source (topic, reason) values ('earlier', 'written before')")
        writer.commit()
        assert migrate(database_url, folder=tmp_path) == 1
        writer.execute("insert into source (topic, reason) values ('later', 'written after')")
        valid = writer.execute("select indisvalid from pg_index where indexrelid = %s::regclass", (index,)).fetchone()

    assert valid == (True,)


BUILDING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'virtualxid'"
INDEX_STATES = """
select relname, relfilenode, indisvalid from pg_class c join pg_index i on i.indexrelid = c.oid
where relname in ('source_topic', 'source_reason') order by relname desc
"""


async def test_index_build_names_what_it_waits_for_and_gives_up_and_the_next_run_replaces_only_what_it_left(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, column in (("0002_topic", "topic"), ("0003_reason", "reason")):
        (tmp_path / f"{name}.sql").write_text(
            "-- transactional: false\n"
            f"drop index concurrently if exists source_{column};\n"
            f"create index concurrently source_{column} on source ({column});\n"
        )
    with (
        psycopg.connect(database_url, application_name="report") as report,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        first = tmp_path / "first"
        first.mkdir()
        (first / "0002_topic.sql").write_text((tmp_path / "0002_topic.sql").read_text())
        assert migrate(database_url, folder=first) == 1
        (finished,) = observer.execute(INDEX_STATES).fetchall()
        report.execute("insert into source (topic, reason) values ('new', 'of a transaction that stays open')")
        blocker = f"process {report.info.backend_pid} of PostgreSQL, report, [0-9]+ s old"

        with pytest.raises(TablesInUse, match=f"migration 0003_reason was given up: .*1 s.* run this again.*{blocker}"):
            await asyncio.wait_for(asyncio.to_thread(migrate, database_url, folder=tmp_path, wait_seconds=1), 60)

        assert re.search(f"migration 0003_reason waits for other transactions: {blocker}", caplog.text)
        kept, (*_, is_valid) = observer.execute(INDEX_STATES).fetchall()
        assert (kept, is_valid) == (finished, False)
        running = asyncio.create_task(asyncio.to_thread(migrate, database_url, folder=tmp_path))
        await wait_until(lambda: observer.execute(BUILDING).fetchone() == (1,), "the build waits for the report")
        report.rollback()
        assert await running == 1
        kept, (*_, is_valid) = observer.execute(INDEX_STATES).fetchall()
        assert (kept, is_valid) == (finished, True)


ENDED = "select not exists (select from pg_stat_activity where pid = %s)"
IN_FORCE = "select setting from pg_settings where name = %s"
BUILD = (
    "-- transactional: false\n"
    "drop index concurrently if exists source_reason;\n"
    "create index concurrently source_reason on source (reason);\n"
)


def limit_sessions(url: str, limit: str, seconds: int) -> None:
    """Limit all new sessions of the database, or skip the test where PostgreSQL does not have the limit."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute(IN_FORCE, (limit,)).fetchone() is None:
            pytest.skip(f"PostgreSQL {connection.info.server_version // 10_000} has no {limit}")
        change = sql.SQL("alter database {} set {} = {}")
        names = sql.Identifier(connection.info.dbname), sql.Identifier(limit)
        connection.execute(change.format(*names, sql.Literal(f"{seconds}s")))


@pytest.mark.parametrize("limit", ["idle_session_timeout", "transaction_timeout"])
async def test_index_build_that_waits_longer_than_sessions_of_the_database_may_last_is_finished(
    database_url: str, tmp_path: Path, limit: str
) -> None:
    (tmp_path / "0002_reason.sql").write_text(BUILD)
    with (
        psycopg.connect(database_url) as report,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        report.execute("insert into source (topic, reason) values ('new', 'of a transaction that stays open')")
        limit_sessions(database_url, limit, 1)
        running = asyncio.create_task(asyncio.to_thread(migrate, database_url, folder=tmp_path))
        await wait_until(lambda: observer.execute(BUILDING).fetchone() == (1,), "the build waits for the report")
        # It is idle, in a transaction or outside of one, for a shorter time than each session of the migration.
        with contextlib.closing(psycopg.connect(database_url, autocommit=limit == "idle_session_timeout")) as later:
            later.execute("select")
            process = (later.info.backend_pid,)
            await wait_until(lambda: observer.execute(ENDED, process).fetchone() == (True,), f"{limit} ends a session")
        assert not running.done()
        report.rollback()

        assert await running == 1
        *_, (*_, is_valid) = observer.execute(INDEX_STATES).fetchall()

    assert is_valid


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout", "transaction_timeout", "idle_session_timeout"])
def test_session_of_a_migration_outside_a_transaction_has_no_limit_of_the_database(
    database_url: str, tmp_path: Path, limit: str
) -> None:
    limit_sessions(database_url, limit, 10)
    (tmp_path / "0002_limits.sql").write_text(
        f"-- transactional: false\ncreate table found as select setting from pg_settings where name = '{limit}';\n"
    )

    assert migrate(database_url, folder=tmp_path) == 1

    with psycopg.connect(database_url) as connection:
        assert connection.execute(IN_FORCE, (limit,)).fetchone() == ("10000",)
        assert connection.execute("select setting from found").fetchone() == ("0",)


def test_each_migration_outside_a_transaction_builds_one_index_and_drops_what_was_left_of_it_or_drops_one() -> None:
    folder = Path(schemas.__path__[0]) / "eventlog" / "migrations"
    texts = {path.name: path.read_text() for path in folder.glob("*.sql")}
    found = {}
    for name, text in texts.items():
        if "-- transactional: false" in text:
            found[name] = re.findall(r"(drop index concurrently if exists|create index concurrently) (\w+)", text)
    index_of = {name: name.partition("_")[2].removesuffix(".sql") for name in found}
    drop, create = "drop index concurrently if exists", "create index concurrently"
    assert found == {
        name: [(drop, index.removeprefix("drop_"))] if index.startswith("drop_") else [(drop, index), (create, index)]
        for name, index in index_of.items()
    }
    assert len(found) == 5


EXPAND = "alter table source add column note text;\n"
ADVISORY_UNLOCK = "select pg_advisory_unlock_all()"
WAITING = "select count(*) from pg_locks where relation = 'source'::regclass and not granted"


async def test_migration_that_waits_for_a_long_query_lets_appends_pass_and_is_made_afterwards(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "0002_expand.sql").write_text(EXPAND)
    with psycopg.connect(database_url) as reader, psycopg.connect(database_url, autocommit=True) as writer:
        reader.execute("select from source")
        running = asyncio.create_task(asyncio.to_thread(migrate, database_url, folder=tmp_path))
        await wait_until(lambda: writer.execute(WAITING).fetchone() == (1,), "the migration waits for the table")
        writer.execute(f"set lock_timeout = '{5 * LOCK_SECONDS}s'".encode())
        writer.execute("insert into source (topic, reason) values ('new', 'written while the migration waited')")
        assert not running.done()
        reader.commit()

        assert await running == 1

        assert writer.execute("select note from source").fetchone() == (None,)


def test_migration_without_its_locks_in_time_changes_nothing_and_names_the_oldest_transaction(
    database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "0002_expand.sql").write_text(EXPAND)
    with psycopg.connect(database_url, application_name="report") as reader:
        reader.execute("select from source")
        process = reader.info.backend_pid
        with pytest.raises(
            TablesInUse, match=f"migration 0002_expand did not .* process {process} of PostgreSQL, report"
        ):
            migrate(database_url, folder=tmp_path, wait_seconds=0)
    assert migrate(database_url, folder=tmp_path) == 1


def test_one_run_migrates_at_a_time_and_a_killed_one_leaves_no_lock(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(TRY_LOCK)
        with pytest.raises(MigrationRuns, match="nothing was changed: migrate again when it has ended"):
            migrate(database_url, wait_seconds=0)
        other.execute(ADVISORY_UNLOCK)
        other.execute("insert into yoyo_lock (locked, ctime, pid) values (1, now(), 1)")

    assert migrate(database_url, wait_seconds=0) == 0
