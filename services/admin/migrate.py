"""``admin migrate``: create or upgrade the schema of the event log."""

from typing import Annotated

import psycopg
import typer

from schemas.topics import DEFAULT_SHARD_COUNT
from services.config.base import SettingsError
from services.config.database import DatabaseSettings
from services.eventlog.migrate import LogExists, MigrationRuns, ShardCountMismatch, WrongEncoding, migrate
from services.eventlog.table_changes import TablesInUse
from services.runtime.command_line import ExitCode, exit_with

SHARDS_MAX = 1_000


def migrate_command(
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=SHARDS_MAX,
            help="The number of shards of a new installation, and of the partitions of its topics: the most processes"
            f" that can share the work. It can never be changed. Default: {DEFAULT_SHARD_COUNT}.",
        ),
    ] = None,
) -> None:
    """Create or upgrade the log's schema in DATABASE_URL, as the owner of that database. Safe to repeat."""
    try:
        applied_count = migrate(DatabaseSettings().url(), shards)
    except (SettingsError, LogExists, MigrationRuns, ShardCountMismatch, TablesInUse, WrongEncoding) as error:
        exit_with(ExitCode.USAGE, str(error))
    except psycopg.OperationalError as error:
        exit_with(
            ExitCode.SERVER_UNAVAILABLE,
            f"PostgreSQL failed: {str(error).strip()}. Check the server and the login in DATABASE_URL, then run this"
            " again",
        )
    except psycopg.Error as error:
        exit_with(
            ExitCode.USAGE,
            f"PostgreSQL refused a migration ({type(error).__name__}: {error.diag.message_primary}); migrations before"
            " it stay applied, this one is made again from its beginning. Correct the cause and migrate again",
        )
    typer.echo(f"{applied_count} migrations applied" if applied_count else "the schema is up to date")
