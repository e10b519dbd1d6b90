"""Creates or upgrades the schema of the event log.

yoyo applies the files of ``schemas/eventlog/migrations`` in order, each once; each in a transaction, which is tried
again while others hold its tables. One that begins with ``-- transactional: false`` is watched while it waits; it may
be repeated after an interruption, so it builds one index and drops what is left of it first, or drops one. One run
works at a time.
``schemas/eventlog/schema.sql`` shows the schema that results.
"""

import contextlib
import importlib.resources
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from yoyo import default_migration_table, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from services.eventlog.archive import add_coming_months
from services.eventlog.index_builds import watch_change
from services.eventlog.table_changes import LOCK_SECONDS, WAIT_SECONDS, retry_while_locked

# host, [IPv6 address]:port, host:port.
HOST_AND_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*)(?::(?P<port>\d+))?")

TRY_LOCK = "select pg_try_advisory_lock(hashtextextended('moderation migrations', 0))"
POLL_SECONDS = 0.5
# Also limits that the role or database sets. Limits of later versions of PostgreSQL are left out: it refuses the names.
LIFT_LIMITS = "select set_config(name, '0', false) from pg_settings where name = any(%s)"
IDLE_LIMITS = ("idle_session_timeout",)
"""Of sessions that wait for another one of ours: the one with the lock, and yoyo's own during a migration."""
LIMITS = (*IDLE_LIMITS, "statement_timeout", "lock_timeout", "transaction_timeout")
"""Of the session that builds an index: a build that is tried again starts from the beginning."""


class LogExists(Exception):
    """The database has a log that these migrations did not create."""


class WrongEncoding(Exception):
    """The database's encoding is not UTF-8, so that names and comments could not be stored."""


class MigrationRuns(Exception):
    """Another run is migrating the database."""


class ShardCountMismatch(Exception):
    """The log has another number of shards; the number is fixed at installation."""


def migrate(
    database_url: str,
    shard_count: int | None = None,
    folder: Path | None = None,
    wait_seconds: float = WAIT_SECONDS,
) -> int:
    """Apply the missing migrations and return how many there were. Processes may use the log meanwhile.

    ``shard_count``: of a new installation, None for the default; ``folder``: of the migrations, None for the log's;
    ``wait_seconds``: how long it waits for another run, and each change for other transactions.

    Raises:
        LogExists: the database has a log from before 0.1.0, or one created by other means; it was not changed.
        MigrationRuns: another run did not end in time; nothing was changed.
        ShardCountMismatch: the log was installed with another number of shards.
        TablesInUse: a migration did not get its locks in time, or waited too long; earlier ones stay applied.
        WrongEncoding: the database is not in UTF-8; it was not changed.
    """
    url = to_libpq_url(database_url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LIFT_LIMITS, ([*IDLE_LIMITS],))
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise WrongEncoding(
                f"the database's encoding is {encoding}; it was not changed: create it with"
                " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and migrate again"
            )
        _wait_for_other_runs(connection, wait_seconds)
        try:
            with importlib.resources.as_file(
                importlib.resources.files("schemas") / "eventlog" / "migrations"
            ) as own_folder:
                applied_count = _apply_missing(url, shard_count, folder or own_folder, wait_seconds)
        except (psycopg.errors.DuplicateFunction, psycopg.errors.DuplicateTable) as error:
            raise LogExists(
                f"the database has a log that these migrations did not create ({error.diag.message_primary}); "
                "it was not changed: set DATABASE_URL to an empty database and migrate again"
            ) from error
        row = connection.execute("select shards from installation").fetchone()
        if folder is None:
            add_coming_months(url, wait_seconds)
    installed_count = row and row[0]
    if shard_count is not None and installed_count != shard_count:
        raise ShardCountMismatch(
            f"the log has {installed_count} shards, not {shard_count}; their number is fixed at installation and was"
            " not changed: migrate without --shards, or install another log in an empty database"
        )
    return applied_count


def _wait_for_other_runs(connection: psycopg.Connection, wait_seconds: float) -> None:
    """Lock out other runs until the connection is closed. Raises MigrationRuns.

    It polls, because a statement that waits would have a snapshot, and the other run may have to wait for all older
    snapshots to build an index.
    """
    deadline = time.monotonic() + wait_seconds
    while connection.execute(TRY_LOCK).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise MigrationRuns(
                f"another migration of this database has not ended within {wait_seconds:g} s; nothing was changed:"
                " migrate again when it has ended"
            )
        time.sleep(POLL_SECONDS)


def _apply_missing(url: str, shard_count: int | None, folder: Path, wait_seconds: float) -> int:
    """Apply each missing migration in a transaction with a short lock timeout, or outside it if it asks for that."""
    settings = {} if shard_count is None else {"moderation.shards": str(shard_count)}
    with _opened_backend(url, settings) as backend:
        backend.init_database()
        # Other runs are locked out: a row in yoyo's own table of locks is that of a run that was killed.
        backend.break_lock()
        missing = list(backend.to_apply(read_migrations(str(folder))))
    for migration in missing:
        migration.load()
        name = f"migration {migration.id}"
        if not migration.use_transactions:
            with _opened_backend(url, settings, LIMITS) as backend:
                watch_change(partial(backend.apply_one, migration), backend.find_process, name, url, wait_seconds)
            continue
        with _opened_backend(url, {**settings, "lock_timeout": f"{LOCK_SECONDS}s"}) as backend:
            retry_while_locked(partial(backend.apply_one, migration), name, url, wait_seconds)
    return len(missing)


class _Backend(PostgresqlPsycopgBackend):
    """Sets ``settings`` for each of its sessions by statements: poolers refuse or drop start-up parameters.

    ``lifted_limits``: timeouts that its sessions do not have, whatever the role or database sets. ``processes``: those
    of PostgreSQL that its sessions had; a pooler hides them from the client.
    """

    settings: Mapping[str, str] = {}
    lifted_limits: Sequence[str] = ()
    processes: list[int]

    @classmethod
    def find_process(cls) -> int | None:
        """Return the process of the newest session: yoyo opens one for each migration."""
        return cls.processes[-1] if cls.processes else None

    def init_connection(self, connection: psycopg.Connection) -> None:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row is not None
        self.processes.append(row[0])
        connection.execute(LIFT_LIMITS, ([*self.lifted_limits],))
        for name, value in self.settings.items():
            connection.execute("select set_config(%s, %s, false)", (name, value))
        connection.commit()


@contextlib.contextmanager
def _opened_backend(url: str, settings: Mapping[str, str], lifted_limits: Sequence[str] = IDLE_LIMITS) -> Iterator[Any]:
    """Open yoyo's connection with settings of its sessions; the first migration reads the number of shards from one."""
    # yoyo itself only parses URLs with one host; it passes this dictionary to psycopg unchanged.
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, None, {"conninfo": url})
    # yoyo makes further connections of the backend's class.
    members = {"settings": settings, "lifted_limits": lifted_limits, "processes": []}
    backend: Any = type("Backend", (_Backend,), members)(uri, default_migration_table)
    try:
        yield backend
    finally:
        backend.connection.close()


def to_libpq_url(database_url: str) -> str:
    """Return the URL in a form that libpq reads as asyncpg does.

    Only asyncpg accepts ports in the hosts of the query: ``?host=first:5432,second:5433``.
    """
    parts = urlsplit(database_url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    found = [HOST_AND_PORT.fullmatch(host) for name, hosts in query if name == "host" for host in hosts.split(",")]
    places = [place for place in found if place is not None]
    if len(places) < len(found) or not any(place["port"] for place in places):
        return database_url
    ports = [place["port"] or "5432" for place in places]
    other = [(name, value) for name, value in query if name not in ("host", "port")]
    hosts = ",".join(place["host"].strip("[]") for place in places)
    return parts._replace(query=urlencode([*other, ("host", hosts), ("port", ",".join(ports))])).geturl()
