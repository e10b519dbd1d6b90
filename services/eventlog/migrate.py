"""Creates or upgrades the schema of the event log.

yoyo applies the files of ``schemas/eventlog/migrations`` in order, each once and under its own lock; each in a
transaction, unless it begins with ``-- transactional: false``. ``schemas/eventlog/schema.sql`` shows the schema that
results.
"""

import importlib.resources
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from yoyo import default_migration_table, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from services.eventlog.archive import ADD_MONTHS, MONTHS_AHEAD

# host, [IPv6 address]:port, host:port.
HOST_AND_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*)(?::(?P<port>\d+))?")


class LogExists(Exception):
    """The database has a log that these migrations did not create."""


class WrongEncoding(Exception):
    """The database's encoding is not UTF-8, so that names and comments could not be stored."""


class ShardCountMismatch(Exception):
    """The log has another number of shards; the number is fixed at installation."""


def migrate(database_url: str, shard_count: int | None = None, folder: Path | None = None) -> int:
    """Apply the missing migrations and return how many there were.

    ``shard_count``: of a new installation, None for the default; ``folder``: of the migrations, None for the log's.

    Raises:
        LogExists: the database has a log from before 0.1.0, or one created by other means; it was not changed.
        ShardCountMismatch: the log was installed with another number of shards.
        WrongEncoding: the database is not in UTF-8; it was not changed.
    """
    url = to_libpq_url(database_url)
    with psycopg.connect(url) as connection:
        encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise WrongEncoding(
            f"the database's encoding is {encoding}; it was not changed: create it with"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and migrate again"
        )
    # yoyo itself only parses URLs with one host; it passes this dictionary to psycopg unchanged.
    uri = DatabaseURI(
        "postgresql+psycopg", None, None, None, None, None, {"conninfo": _add_shard_count(url, shard_count)}
    )
    backend: Any = PostgresqlPsycopgBackend(uri, default_migration_table)
    try:
        backend.init_database()
        with importlib.resources.as_file(
            importlib.resources.files("schemas") / "eventlog" / "migrations"
        ) as own_folder:
            migrations = read_migrations(str(folder or own_folder))
            with backend.lock():
                missing = backend.to_apply(migrations)
                backend.apply_migrations(missing)
    except (psycopg.errors.DuplicateFunction, psycopg.errors.DuplicateTable) as error:
        raise LogExists(
            f"the database has a log that these migrations did not create ({error.diag.message_primary}); "
            "it was not changed: set DATABASE_URL to an empty database and migrate again"
        ) from error
    finally:
        backend.connection.close()
    with psycopg.connect(url) as connection:
        row = connection.execute("select shards from installation").fetchone()
        if folder is None:
            connection.execute(ADD_MONTHS, (MONTHS_AHEAD,))
    installed_count = row and row[0]
    if shard_count is not None and installed_count != shard_count:
        raise ShardCountMismatch(
            f"the log has {installed_count} shards, not {shard_count}; their number is fixed at installation and was"
            " not changed: migrate without --shards, or install another log in an empty database"
        )
    return len(missing)


def _add_shard_count(url: str, shard_count: int | None) -> str:
    """Return the URL with a session setting for the number of shards, which the first migration reads."""
    if shard_count is None:
        return url
    options = conninfo_to_dict(url).get("options") or ""
    return make_conninfo(url, options=f"{options} -c moderation.shards={shard_count}")


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
