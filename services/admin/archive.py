"""``admin archive``: move the verdicts of old months to files, and bring them back.

Run ``archive detach`` once a month: it also adds the partitions of the coming months.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from services.admin.postgres_errors import exit_on_postgres_errors
from services.config.database import DatabaseSettings
from services.eventlog.archive import archive_months, attach_month
from services.eventlog.archive_file import ArchiveRefused
from services.eventlog.clocks import ClocksDiffer
from services.eventlog.migrate import to_libpq_url
from services.eventlog.table_changes import TablesInUse
from services.runtime.command_line import ExitCode, exit_with

DAYS_MIN = 400


def detach_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, writable=True)],
    older_than_days: Annotated[
        int, typer.Option(min=DAYS_MIN, help="Archive months that ended at least this many days ago.")
    ] = DAYS_MIN,
) -> None:
    """Write verdicts of old months to files in FOLDER, remove them from DATABASE_URL, and add the coming months.

    Repeating a command whose verdict is archived is refused with command_expired; it is never decided again.
    """

    def work() -> None:
        files = []
        for file in archive_months(to_libpq_url(DatabaseSettings().url()), folder, older_than_days):
            typer.echo(f"archived {file}")
            files.append(file)
        if not files:
            typer.echo(f"no month ended {older_than_days} days ago or earlier")

    _run(work)


def attach_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", exists=True, dir_okay=False)],
) -> None:
    """Load archived months into DATABASE_URL again: their verdicts can be read, repeated and replayed."""

    def work() -> None:
        url = to_libpq_url(DatabaseSettings().url())
        for file in files:
            attached = attach_month(url, file)
            typer.echo(f"attached {attached.month}: {attached.rows} verdicts")

    # A month that is in the database already is refused.
    _run(work, again="run this again with the files of the other months")


def build_archive_app() -> typer.Typer:
    """Return the group ``admin archive``."""
    app = typer.Typer(help="Archive the verdicts of old months, and bring them back.", no_args_is_help=True)
    app.command("detach")(detach_command)
    app.command("attach")(attach_command)
    return app


def _run(work: Callable[[], None], again: str = "run this again") -> None:
    with exit_on_postgres_errors(done="the months listed above are done", again=again):
        try:
            work()
        except (ArchiveRefused, ClocksDiffer, TablesInUse) as error:
            exit_with(ExitCode.USAGE, str(error))
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            exit_with(ExitCode.USAGE, f"{error.filename} cannot be written ({reason}); the month stays in the database")
