"""``export``: events as JSON lines, of a course, an assignment or all, to a file or to standard output."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.console.cli import options
from services.console.cli.runner import USAGE, AsJson, Connection, check_known, end, of_log, out, print_json
from services.console.event_export import CannotGoOn, Exported, File, Lines, export
from services.eventlog.feed_history import History
from services.kafka.partitioning import SHARDS


class Stream:
    """Standard output; it cannot be gone on with."""

    def write(self, lines: bytes, positions: list[int]) -> None:
        """Pass them on."""
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()


def export_events(
    to: Annotated[Path | None, typer.Option(help="A file; the same command again goes on with it.")] = None,
    root_account: options.RootAccount = None,
    course: options.Course = None,
    assignment: options.Assignment = None,
    since: options.Since = None,
    until: options.Until = None,
    as_json: AsJson = False,
) -> None:
    """Events as JSON lines: all, or of a course or an assignment. With --to resumable; without, on standard output."""
    if as_json and to is None:
        raise typer.BadParameter("--json prints a summary: say --to FILE, where the events go")
    selection = options.selection(root_account, course, assignment, since, until)
    of_log(partial(check_known, selection=selection))
    try:
        file = None if to is None else File(to, selection)
    except (CannotGoOn, OSError) as error:
        end(USAGE, str(error))
    lines: Lines = Stream() if file is None else file
    begun = [0] * SHARDS if file is None else file.positions

    async def write(connection: Connection) -> Exported:
        with options.bars() as bars:
            task = bars.add_task("positions of the log", total=None)
            update = partial(bars.update, task)
            return await export(
                History(connection), selection, lines, begun, lambda seen, of: update(completed=seen, total=of)
            )

    try:
        exported = of_log(write)
    except CannotGoOn as error:
        end(USAGE, str(error))
    finally:
        if file is not None:
            file.close()
    if as_json:
        print_json(
            {"file": str(to), "selection": str(selection), "events": exported.events, "positions": exported.positions}
        )
    elif to is not None:
        out().print(f"{exported.events} events added to {to}", markup=False, soft_wrap=True)
