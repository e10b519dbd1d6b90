"""What the commands share: how they end, and how they print for people and for scripts."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar

import asyncpg
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.config import DatabaseSettings
from services.console.cli.options import parse_id_option
from services.console.cli.server_watchdog import fail_if_silent, postgresql_server
from services.eventlog.feed_history import FeedHistory, LogFilter
from services.eventlog.postgres import READER, close_quickly, connect
from services.runtime.command_line import NotFound, escape_unprintable, run_command

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
LABEL_WIDTH = 15
RootAccountOption = Annotated[
    int, typer.Option(parser=parse_id_option, metavar="ID", help="The root account that ids belong to.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def format_time(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def print_fields(console: Console, fields: Mapping[str, Any]) -> None:
    """Names and values, one a line; what is None is left out."""
    width = max(LABEL_WIDTH, *(len(name) + 2 for name in fields))
    for name, value in fields.items():
        if value is not None:
            console.print(
                Text.assemble((f"  {escape_unprintable(name):<{width}}", "dim"), escape_unprintable(value)),
                soft_wrap=True,
            )


def with_connection(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something that reads the log alone."""

    async def run_with_connection() -> T:
        async with open_connection(DatabaseSettings().url()) as connection:
            return await work(connection)

    return run_command(run_with_connection)


async def require_existing(connection: Connection, selection: LogFilter) -> None:
    """Raise NotThere unless the log has the course or assignment: a slip of the pen selects nothing, silently."""
    if not await FeedHistory(connection).exists(selection):
        raise NotFound(f"there is nothing of {selection} in the log")


@contextlib.asynccontextmanager
async def open_connection(url: str) -> AsyncIterator[Connection]:
    """A connection that may read and no more; whoever waits for PostgreSQL meanwhile is told so."""
    async with fail_if_silent(postgresql_server(url)):
        connection = await connect(url, "cli", READER)
        try:
            yield connection
        finally:
            await close_quickly(connection)


def stdout_console() -> Console:
    """Standard output: as wide as the terminal, 80 columns where there is none."""
    return Console(highlight=False)


def print_json(value: Any) -> None:
    """One JSON value in one line, UTF-8."""
    typer.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def build_table(*columns: str, right: tuple[str, ...] = (), fold: str | None = None, title: str | None = None) -> Table:
    """A table; ``right``: columns of numbers; ``fold``: the one that takes the room that is left, in more lines."""
    new_table = Table(
        box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, expand=False
    )
    for column in columns:
        new_table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column != fold,
            overflow="fold" if column == fold else "ellipsis",
        )
    return new_table


def add_row(target: Table, *cells: Any, style: str | None = None) -> None:
    """Add a row of texts, in which nothing is markup; None is a dash."""
    target.add_row(*(Text("–" if cell is None else escape_unprintable(cell)) for cell in cells), style=style)
