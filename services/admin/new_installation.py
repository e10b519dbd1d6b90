"""``admin new-installation``: give the copy of a database its own identity."""

from typing import Annotated
from uuid import UUID, uuid4

import psycopg
import typer

from services.admin.postgres_errors import exit_on_postgres_errors
from services.config.database import DatabaseSettings
from services.eventlog.migrate import to_libpq_url
from services.runtime.command_line import ExitCode, exit_with

PROCESSES = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name like 'moderation-%' and pid <> pg_backend_pid()
"""
ALLOW_UPDATE = "alter table installation disable trigger append_only"
REFUSE_UPDATE = "alter table installation enable always trigger append_only"


def new_installation_command(
    installation_id: Annotated[
        UUID | None, typer.Option("--id", help="Take this id instead of a new one: to undo the command.")
    ] = None,
) -> None:
    """Give the log in DATABASE_URL a new identity, different from the log that it was copied from.

    Run it as the owner of the database, on a copy that is used in parallel with its original (a staging system, the
    test of an upgrade), before any process uses the copy. Its handlers and relays then refuse the original's topics:
    set another TOPIC_PREFIX and create topics. A restored or promoted database that replaces the original keeps its
    identity.
    """
    new_id = installation_id or uuid4()
    with exit_on_postgres_errors(), psycopg.connect(to_libpq_url(DatabaseSettings().url())) as connection:
        processes = connection.execute(PROCESSES).fetchone()
        if processes is None or processes[0]:
            exit_with(
                ExitCode.USAGE,
                "processes of the service are connected to this database; nothing was changed. If it is the copy,"
                " stop them and run this again",
            )
        connection.execute(ALLOW_UPDATE)
        row = connection.execute("select id from installation").fetchone()
        connection.execute("update installation set id = %s", (new_id,))
        connection.execute(REFUSE_UPDATE)
    typer.echo(f"the installation was {row and row[0]} and is now {new_id}")
