"""Archives the verdicts of old months to files, and attaches them again.

A month's file is complete and verified before the month is removed from the database, so that an interrupted run can
be repeated. Command ids and offsets stay in the log, so that a repeated command is always recognized.
"""

import gzip
import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Self

import orjson
import psycopg
from psycopg import sql

from services.eventlog.table_changes import LOCK_SECONDS, WAIT_SECONDS, retry_while_locked

MONTHS_AHEAD = 3
ADD_MONTHS = "select add_verdict_months(%s)"
COLUMNS = sql.SQL("recorded_at, shard, number, key, body, metadata")
# Each month that is attached and ends before a date.
MONTHS_BEFORE = """
select c.relname, to_date(right(c.relname, 7), 'YYYY_MM')
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'verdict_body'::regclass and c.relname ~ '^verdict_body_[0-9]{4}_[0-9]{2}$'
  and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month' <= %s
order by 1
"""
INSTALLATION_ID = "select id::text from installation"
LOCK_TIMEOUT = f"set local lock_timeout = '{LOCK_SECONDS}s'"
CHUNK_BYTES = 1 << 20


class ArchiveRefused(Exception):
    """A file or a month is not as expected; the message says what was not changed and what to do."""


@dataclass(frozen=True, slots=True)
class ArchivedMonth:
    """The description next to a month's file: its log and month, and how to verify that it is complete."""

    installation: str
    month: str
    rows: int
    sha256: str

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the description of a month's file. Raises ArchiveRefused."""
        try:
            return cls(**orjson.loads(_description_path(file).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise ArchiveRefused(
                f"{_description_path(file)} cannot be read ({type(error).__name__}); nothing was changed: keep each"
                " month's .json file next to its .copy.gz file"
            ) from None


def add_coming_months(url: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """Create the partitions of this month and the next ones, as the owner of the database. Raises TablesInUse."""

    def add_months() -> None:
        with psycopg.connect(url) as connection:
            connection.execute(LOCK_TIMEOUT)
            connection.execute(ADD_MONTHS, (MONTHS_AHEAD,))

    retry_while_locked(add_months, "the partitions of the coming months", url, wait_seconds)


def archive_months(url: str, folder: Path, until: date) -> Iterator[Path]:
    """Write each month that ended before a date to a file in ``folder``, then remove it; yield each file when done.

    Raises:
        ArchiveRefused: a month changed while it was written, which is not expected; it stays in the database.
        TablesInUse: other transactions used the table all the time; the yielded months are done.
        psycopg.Error: PostgreSQL does not answer, or the user is not the owner; the yielded months are done.
    """
    add_coming_months(url)
    with psycopg.connect(url) as connection:
        months = connection.execute(MONTHS_BEFORE, (until,)).fetchall()
        connection.commit()
        for name, month in months:
            file = folder / f"{name}.copy.gz"
            described = _write_month(connection, name, month, file)
            connection.commit()
            retry_while_locked(partial(_remove_month, connection, name, described.rows), f"removing {name}", url)
            yield file


def attach_month(url: str, file: Path) -> ArchivedMonth:
    """Load a month's file into the database again.

    Raises:
        ArchiveRefused: the file is damaged, of another log, or its month is in the database; nothing was changed.
        psycopg.Error: PostgreSQL does not answer, or the user is not the owner; nothing was changed.
    """
    described = ArchivedMonth.read(file)
    name = f"verdict_body_{described.month.replace('-', '_')}"
    with psycopg.connect(url) as connection:
        if connection.execute(INSTALLATION_ID).fetchone() != (described.installation,):
            raise ArchiveRefused(
                f"{file.name} belongs to the log {described.installation}, not to this one; nothing was changed: set"
                " DATABASE_URL to that log"
            )
        if _hash_file(file) != described.sha256:
            raise ArchiveRefused(f"{file.name} is damaged; nothing was changed: take another copy of it")
        if connection.execute("select to_regclass(%s)", (name,)).fetchone() != (None,):
            raise ArchiveRefused(f"{name} is in the database already; nothing was changed")
        table = sql.Identifier(name)
        connection.execute(sql.SQL("create table {} (like verdict_body including all)").format(table))
        _load_rows(connection, table, file)
        connection.execute("select refuse_changes_of(%s::regclass)", (name,))
        connection.execute(LOCK_TIMEOUT)
        attach = "alter table verdict_body attach partition {} for values from ({}) to ({})"
        first = date.fromisoformat(f"{described.month}-01")
        bounds = [sql.Literal(f"{day} 00:00:00+00") for day in (first, _next_month(first))]
        connection.execute(sql.SQL(attach).format(table, *bounds))
    return described


def _remove_month(connection: psycopg.Connection, name: str, rows: int) -> None:
    """Remove a month in which nothing has changed since it was written. It is counted before appends have to wait."""
    month = sql.Identifier(name)
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        connection.execute(sql.SQL("lock table {} in share mode").format(month))
        if _count_rows(connection, name) != rows:
            raise ArchiveRefused(f"{name} changed while it was archived; it stays in the database: run this again")
        connection.execute(sql.SQL("alter table verdict_body detach partition {}").format(month))
        connection.execute(sql.SQL("drop table {}").format(month))


def _write_month(connection: psycopg.Connection, name: str, month: date, file: Path) -> ArchivedMonth:
    """Write a month's rows and their description; each file gets its name once it is complete on disk."""
    partial = file.with_suffix(".partial")
    copy_rows = sql.SQL("copy (select {} from {} order by shard, number) to stdout")
    with partial.open("wb") as raw:
        with (
            gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as compressed,
            connection.cursor().copy(copy_rows.format(COLUMNS, sql.Identifier(name))) as rows,
        ):
            for chunk in rows:
                compressed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    installation = connection.execute(INSTALLATION_ID).fetchone()
    assert installation is not None
    described = ArchivedMonth(
        installation[0], month.strftime("%Y-%m"), _count_rows(connection, name), _hash_file(partial)
    )
    _description_path(file).write_bytes(orjson.dumps(asdict(described)))
    partial.rename(file)
    return described


def _load_rows(connection: psycopg.Connection, table: sql.Identifier, file: Path) -> None:
    with (
        gzip.open(file, "rb") as compressed,
        connection.cursor().copy(sql.SQL("copy {} ({}) from stdin").format(table, COLUMNS)) as rows,
    ):
        while chunk := compressed.read(CHUNK_BYTES):
            rows.write(chunk)


def _count_rows(connection: psycopg.Connection, name: str) -> int:
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(name))).fetchone()
    assert row is not None
    return int(row[0])


def _hash_file(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _description_path(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".copy.gz") + ".json")


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
