"""What the commands share: how they end, and how they print for people and for scripts."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeAlias, TypeVar

import asyncpg
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.config import DatabaseSettings, WrongSettings
from services.console.cli.options import FAILURES, identifier, in_words
from services.console.cli.server_watchdog import attended, postgresql
from services.eventlog.feed_history import History, Selection
from services.eventlog.postgres import READER, connect, leave

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
FACT_WIDTH = 15
FINE, FINDING, USAGE, AWAY, NOTHING = 0, 1, 2, 3, 4
RootAccount = Annotated[int, typer.Option(parser=identifier, metavar="ID", help="The root account that ids belong to.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


class NotThere(Exception):
    """There is nothing of that name; the message says what was looked for."""


class Away(Exception):
    """A server does not answer; the message says which, and what that leaves behind."""


class Refused(Exception):
    """What was asked for is not done, for want of a right or of a reason; the message says which."""


def run(work: Callable[[], Awaitable[T]]) -> T:
    """Do it, and end with the exit code of what went wrong if something did."""
    try:
        return asyncio.run(_awaited(work))
    except (WrongSettings, Refused) as error:
        end(USAGE, str(error))
    except NotThere as error:
        end(NOTHING, str(error))
    except Away as error:
        end(AWAY, str(error))
    except BrokenPipeError:
        raise  # Nobody reads our output any more: typer ends quietly.
    except FAILURES as error:
        end(AWAY, in_words(error))


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def end(code: int, message: str) -> NoReturn:
    """Say why on standard error, and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(plain(message)))
    raise typer.Exit(code)


def time_text(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_facts(console: Console, facts: Mapping[str, Any]) -> None:
    """Names and values, one a line; what is None is left out."""
    width = max(FACT_WIDTH, *(len(name) + 2 for name in facts))
    for name, value in facts.items():
        if value is not None:
            console.print(Text.assemble((f"  {plain(name):<{width}}", "dim"), plain(value)), soft_wrap=True)


def of_log(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something that reads the log alone."""

    async def connected() -> T:
        async with reading(DatabaseSettings().url()) as connection:
            return await work(connection)

    return run(connected)


async def check_known(connection: Connection, selection: Selection) -> None:
    """Raise NotThere unless the log has the course or assignment: a slip of the pen selects nothing, silently."""
    if not await History(connection).knows(selection):
        raise NotThere(f"there is nothing of {selection} in the log")


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[Connection]:
    """A connection that may read and no more; whoever waits for PostgreSQL meanwhile is told so."""
    async with attended(postgresql(url)):
        connection = await connect(url, "cli", READER)
        try:
            yield connection
        finally:
            await leave(connection)


def out() -> Console:
    """Standard output: as wide as the terminal, 80 columns where there is none."""
    return Console(highlight=False)


def print_json(value: Any) -> None:
    """One JSON value in one line, UTF-8."""
    typer.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def table(*columns: str, right: tuple[str, ...] = (), fold: str | None = None, title: str | None = None) -> Table:
    """A table; ``right``: columns of numbers; ``fold``: the one that takes the room that is left, in more lines."""
    made = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False, expand=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column != fold,
            overflow="fold" if column == fold else "ellipsis",
        )
    return made


def plain(value: Any) -> str:
    """A text that does nothing to a terminal: characters that cannot be printed stand as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(value))


def row(made: Table, *cells: Any, style: str | None = None) -> None:
    """Add a row of texts, in which nothing is markup; None is a dash."""
    made.add_row(*(Text("–" if cell is None else plain(cell)) for cell in cells), style=style)
