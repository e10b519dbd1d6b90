"""``audit``: the log of operators' reads and changes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from schemas.fields import format_time
from services.console.cli.options import TIME_FORMATS, TIME_METAVAR, JsonOption, parse_id_option
from services.console.cli.output import add_row, build_table, print_json, stdout_console
from services.console.cli.runner import Connection, with_connection
from services.eventlog.access_records import AuditEntry, AuditFilter, read_audit_trail

DAYS_DEFAULT = 7
ROWS_DEFAULT = 100
ROWS_MAX = 10_000


def audit(
    since: Annotated[
        datetime | None,
        typer.Option(formats=TIME_FORMATS, metavar=TIME_METAVAR, help="At this time or later; 7 days ago by default."),
    ] = None,
    user: Annotated[
        int | None, typer.Option(parser=parse_id_option, metavar="ID", help="Only of this user, by token.")
    ] = None,
    database_user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this login of the database.")
    ] = None,
    what: Annotated[str | None, typer.Option(metavar="WHAT", help="Only this, such as state or reveal.")] = None,
    of: Annotated[str | None, typer.Option(metavar="ID", help="Only of this assignment, command or person.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="Maximum number of entries.")] = ROWS_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """List which operators read or changed what, newest first."""
    begin = datetime.now(UTC) - timedelta(DAYS_DEFAULT) if since is None else since
    begin_utc = begin.replace(tzinfo=UTC) if begin.tzinfo is None else begin

    async def read_entries(connection: Connection) -> list[AuditEntry]:
        audit_filter = AuditFilter(begin_utc, user_id=user, database_user=database_user, what=what, target=of)
        return await read_audit_trail(connection, audit_filter, limit)

    entries = with_connection(read_entries, of_account=True)
    if as_json:
        print_json([_entry_json(entry) for entry in entries])
        return
    console = stdout_console()
    print_entries(console, entries)
    if len(entries) == limit:
        console.print(Text(f"Only the newest {limit}: add --limit for more.", style="dim"))


def print_entries(console: Console, entries: Sequence[AuditEntry]) -> None:
    """Print a row for each entry."""
    table = build_table("time (UTC)", "who", "from", "what", "of", "why", fold=("time (UTC)", "who", "of", "why"))
    for entry in entries:
        target = "\n".join(f"{name.replace('_', ' ')} {value}" for name, value in json.loads(entry.target).items())
        at = f"{entry.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        add_row(table, at, _format_who(entry), entry.client, entry.what, target, entry.reason)
    console.print(table)


def _entry_json(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": format_time(entry.at),
        "database_user": entry.database_user,
        "client": entry.client,
        "process": entry.process,
        "root_account_id": None if entry.root_account is None else str(entry.root_account),
        "user_id": None if entry.user_id is None else str(entry.user_id),
        "what": entry.what,
        "target": json.loads(entry.target),
        "reason": entry.reason,
    }


def _format_who(entry: AuditEntry) -> str:
    return f"database user {entry.database_user}" if entry.user_id is None else f"user {entry.user_id}"
