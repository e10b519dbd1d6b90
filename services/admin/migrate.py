"""``admin migrate``: create or upgrade the schema of the event log."""

import psycopg
import typer

from services.config import DatabaseSettings, SettingsError
from services.eventlog.migrate import LogExists, ShardCountMismatch, migrate
from services.runtime.command_line import ExitCode, exit_with


def migrate_command() -> None:
    """Create or upgrade the log's schema in DATABASE_URL, as the owner of that database. Safe to repeat."""
    try:
        applied_count = migrate(DatabaseSettings().url())
    except (SettingsError, LogExists, ShardCountMismatch) as error:
        exit_with(ExitCode.USAGE, str(error))
    except psycopg.OperationalError as error:
        exit_with(ExitCode.SERVER_UNAVAILABLE, f"PostgreSQL does not answer: {str(error).strip()}")
    except psycopg.Error as error:
        exit_with(
            ExitCode.USAGE,
            f"PostgreSQL refused a migration ({type(error).__name__}: {error.diag.message_primary}); migrations before"
            " it stay applied, this one changed nothing. Correct the cause and migrate again",
        )
    typer.echo(f"{applied_count} migrations applied" if applied_count else "the schema is up to date")
