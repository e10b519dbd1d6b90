"""Ends a command with a remedy when PostgreSQL fails or refuses it."""

import contextlib
from collections.abc import Iterator

import psycopg

from services.config.base import SettingsError
from services.runtime.command_line import ExitCode, exit_with

NO_LOG_ERRORS = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction, psycopg.errors.InvalidSchemaName)


@contextlib.contextmanager
def exit_on_postgres_errors(*, done: str = "", again: str = "run this again") -> Iterator[None]:
    """End the command if the block raises an error of settings or of PostgreSQL.

    ``done``: what stays changed then, nothing by default. ``again``: what to do once the cause is removed.
    """
    try:
        yield
    except SettingsError as error:
        exit_with(ExitCode.USAGE, str(error))
    except psycopg.OperationalError as error:
        what = "; ".join(filter(None, (f"PostgreSQL failed: {str(error).strip()}", done)))
        exit_with(ExitCode.SERVER_UNAVAILABLE, f"{what}. Check the server and the login in DATABASE_URL, then {again}")
    except NO_LOG_ERRORS:
        exit_with(
            ExitCode.USAGE,
            "this database has no log of this version; nothing was changed. Set DATABASE_URL to the log, or run"
            " moderated-grading admin migrate",
        )
    except psycopg.Error as error:
        reason = f"{type(error).__name__}: {error.diag.message_primary}"
        exit_with(
            ExitCode.USAGE,
            f"PostgreSQL refused ({reason}); {done or 'nothing was changed'}. Connect as the owner of the database,"
            f" then {again}",
        )
