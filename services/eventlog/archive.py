"""Archives the verdicts of old months to files, and attaches them again.

A month's file is complete and verified before the month is removed from the database, so that an interrupted run can
be repeated. Command ids and offsets stay in the log, so that a repeated command is always recognized.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path

import psycopg
from psycopg import sql

from services.eventlog.archive_file import ArchivedMonth, ArchiveRefused, read_rows, write_month
from services.eventlog.clocks import CLOCK_DIFFERENCE_SECONDS, verify_clock
from services.eventlog.table_changes import LOCK_SECONDS, WAIT_SECONDS, TablesInUse, retry_while_locked

MONTHS_AHEAD = 12
"""Enough for an installation that is not upgraded for a year.

Verdicts of a month without a partition are sorted later, while appends wait. More partitions cost each session that
reads verdicts two locks each, of PostgreSQL's default of 64 a transaction, which sessions share.
"""
ADD_MONTHS = "select add_verdict_months(%s)"
MONTH_CHECK = sql.Identifier("recorded_in_month")
COLUMNS = sql.SQL("recorded_at, shard, number, key, body, metadata")
# Each month that is attached and ended at least so many days ago, by PostgreSQL's clock.
OLD_MONTHS = """
select c.relname, to_date(right(c.relname, 7), 'YYYY_MM')
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'verdict_body'::regclass and c.relname ~ '^verdict_body_[0-9]{4}_[0-9]{2}$'
  and to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month'
      <= (statement_timestamp() at time zone 'UTC')::date - %s::integer
order by 1
"""
INSTALLATION_ID = "select id::text from installation"
LOCK_TIMEOUT = f"set local lock_timeout = '{LOCK_SECONDS}s'"
TRY_LOCK = "select pg_try_advisory_lock(hashtextextended('moderation archive', 0))"


def add_coming_months(url: str, wait_seconds: float = WAIT_SECONDS) -> None:
    """Create the partitions of this month and the next ones, as the owner of the database. Raises TablesInUse."""

    def add_months() -> None:
        with psycopg.connect(url) as connection:
            connection.execute(LOCK_TIMEOUT)
            connection.execute(ADD_MONTHS, (MONTHS_AHEAD,))

    retry_while_locked(add_months, "the partitions of the coming months", url, wait_seconds)


def archive_months(url: str, folder: Path, days: int, clock: Callable[[], float] = time.time) -> Iterator[Path]:
    """Write each month that ended at least ``days`` ago to a file in ``folder``, then remove it; yield each file.

    ``clock`` returns the caller's, in seconds since 1970.

    Raises:
        ClocksDiffer: PostgreSQL's clock or the caller's is wrong; nothing was removed.
        ArchiveRefused: another run works on this log, or a month changed while it was written, or its file is not what
            was written to it; the month stays in the database.
        TablesInUse: other transactions used the table all the time; the yielded months are done.
        psycopg.Error: PostgreSQL does not answer, or the user is not the owner; the yielded months are done.
    """
    add_coming_months(url)
    with psycopg.connect(url) as connection, _lock_archive(connection):
        _verify_clock(connection, clock)
        months = connection.execute(OLD_MONTHS, (days,)).fetchall()
        installation = _read_installation(connection)
        connection.commit()
        for name, month in months:
            file = folder / f"{name}.copy.gz"
            described = _write_month(connection, installation, name, month, file)
            connection.commit()
            remove = partial(_remove_month, connection, name, described, file)
            retry_while_locked(remove, f"removing {name}", url)
            yield file


def attach_month(url: str, file: Path, wait_seconds: float = WAIT_SECONDS) -> ArchivedMonth:
    """Load a month's file into the database again. Processes may use the log meanwhile.

    Raises:
        ArchiveRefused: the file is damaged, of another log, or its month is in the database, or another run works on
            this log; nothing was changed.
        TablesInUse: other transactions used the table for ``wait_seconds``; nothing was changed.
        psycopg.Error: PostgreSQL does not answer, or the user is not the owner; nothing was changed.
    """
    described = ArchivedMonth.read(file)
    name = f"verdict_body_{described.month.replace('-', '_')}"
    with psycopg.connect(url) as connection, _lock_archive(connection):
        if _read_installation(connection) != described.installation:
            raise ArchiveRefused(
                f"{file.name} belongs to the log {described.installation}, not to this one; nothing was changed: set"
                " DATABASE_URL to that log"
            )
        if not described.is_complete(file):
            raise ArchiveRefused(
                f"{file.name} is damaged, or has other rows than its .json file says; nothing was changed: take other"
                " copies of both"
            )
        if connection.execute("select to_regclass(%s)", (name,)).fetchone() != (None,):
            raise ArchiveRefused(f"{name} is in the database already; nothing was changed")
        first = date.fromisoformat(f"{described.month}-01")
        bounds = [sql.Literal(f"{day} 00:00:00+00") for day in (first, _next_month(first))]
        _load_month(connection, name, bounds, file)
        connection.commit()
        try:
            retry_while_locked(
                partial(_attach_loaded, connection, name, bounds), f"attaching {name}", url, wait_seconds
            )
        except TablesInUse:
            with connection.transaction():
                connection.execute(sql.SQL("drop table {}").format(_loaded_table(name)))
            raise
    return described


def _verify_clock(connection: psycopg.Connection, clock: Callable[[], float]) -> None:
    asked_at = clock()
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    verify_clock(row[0].timestamp(), asked_at, clock(), CLOCK_DIFFERENCE_SECONDS, "no month is removed")


def _read_installation(connection: psycopg.Connection) -> str:
    row = connection.execute(INSTALLATION_ID).fetchone()
    assert row is not None
    return str(row[0])


@contextlib.contextmanager
def _lock_archive(connection: psycopg.Connection) -> Iterator[None]:
    """Lock out other runs, on this and other machines: two that write a month's files at once leave a wrong pair."""
    if connection.execute(TRY_LOCK).fetchone() != (True,):
        raise ArchiveRefused(
            "another archive detach or attach works on this log; nothing was changed: run this again when it has ended"
        )
    connection.commit()
    yield


def _write_month(
    connection: psycopg.Connection, installation: str, name: str, month: date, file: Path
) -> ArchivedMonth:
    copy_rows = sql.SQL("copy (select {} from {} order by shard, number) to stdout")
    with connection.cursor().copy(copy_rows.format(COLUMNS, sql.Identifier(name))) as rows:
        return write_month(file, installation, month, rows)


def _remove_month(connection: psycopg.Connection, name: str, described: ArchivedMonth, file: Path) -> None:
    """Remove a month if its file is complete and nothing has changed since. It counts before appends have to wait."""
    if not described.is_complete(file):
        raise ArchiveRefused(
            f"{file} is not what was written to it; {name} stays in the database: check the disk, then run this again"
        )
    month = sql.Identifier(name)
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        connection.execute(sql.SQL("lock table {} in share mode").format(month))
        if _count_rows(connection, name) != described.rows:
            raise ArchiveRefused(f"{name} changed while it was archived; it stays in the database: run this again")
        connection.execute(sql.SQL("alter table verdict_body detach partition {}").format(month))
        connection.execute(sql.SQL("drop table {}").format(month))


def _loaded_table(name: str) -> sql.Identifier:
    """Name the table of a month that is loaded and not yet attached."""
    return sql.Identifier(f"{name}_loaded")


def _load_month(connection: psycopg.Connection, name: str, bounds: Sequence[sql.Literal], file: Path) -> None:
    """Load a month's rows into a table of its own.

    Its check of the bounds is what spares the rows a second look: without it they would all be read while they are
    attached, with appends waiting. What an interrupted run left is dropped.
    """
    table = _loaded_table(name)
    connection.execute(sql.SQL("drop table if exists {}").format(table))
    create = "create table {} (like verdict_body including all, constraint {} check ({}))"
    in_month = sql.SQL("recorded_at >= {} and recorded_at < {}").format(*bounds)
    connection.execute(sql.SQL(create).format(table, MONTH_CHECK, in_month))
    with connection.cursor().copy(sql.SQL("copy {} ({}) from stdin").format(table, COLUMNS)) as rows:
        for chunk in read_rows(file):
            rows.write(chunk)
    connection.execute("select refuse_changes_of(%s::regclass)", (f"{name}_loaded",))


def _attach_loaded(connection: psycopg.Connection, name: str, bounds: Sequence[sql.Literal]) -> None:
    table = sql.Identifier(name)
    attach = "alter table verdict_body attach partition {} for values from ({}) to ({})"
    with connection.transaction():
        connection.execute(LOCK_TIMEOUT)
        connection.execute(sql.SQL("alter table {} rename to {}").format(_loaded_table(name), table))
        connection.execute(sql.SQL(attach).format(table, *bounds))
        connection.execute(sql.SQL("alter table {} drop constraint {}").format(table, MONTH_CHECK))


def _count_rows(connection: psycopg.Connection, name: str) -> int:
    row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(name))).fetchone()
    assert row is not None
    return int(row[0])


def _next_month(first: date) -> date:
    return date(first.year + first.month // 12, first.month % 12 + 1, 1)
