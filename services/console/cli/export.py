"""``export``: events as JSON lines, of a course, an assignment or all, to a file or to standard output."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from services.console.cli import options
from services.console.cli.runner import (
    EXIT_USAGE,
    Connection,
    JsonOption,
    exit_with,
    print_json,
    require_existing,
    stdout_console,
    with_connection,
)
from services.console.event_export import CannotResume, ExportResult, LineSink, ResumableFile, write_events
from services.eventlog.feed_history import FeedHistory
from services.kafka.partitioning import SHARD_COUNT


class StdoutSink:
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
    as_json: JsonOption = False,
) -> None:
    """Events as JSON lines: all, or of a course or an assignment. With --to resumable; without, on standard output."""
    if as_json and to is None:
        raise typer.BadParameter("--json prints a summary: say --to FILE, where the events go")
    selection = options.build_log_filter(root_account, course, assignment, since, until)
    with_connection(partial(require_existing, selection=selection))
    try:
        file = None if to is None else ResumableFile(to, selection)
    except (CannotResume, OSError) as error:
        exit_with(EXIT_USAGE, str(error))
    sink: LineSink = StdoutSink() if file is None else file
    start_positions = [0] * SHARD_COUNT if file is None else file.positions

    async def run_export(connection: Connection) -> ExportResult:
        with options.progress_bars() as progress_bar:
            task = progress_bar.add_task("positions of the log", total=None)
            update = partial(progress_bar.update, task)
            return await write_events(
                FeedHistory(connection),
                selection,
                sink,
                start_positions,
                lambda seen, of: update(completed=seen, total=of),
            )

    try:
        exported = with_connection(run_export)
    except CannotResume as error:
        exit_with(EXIT_USAGE, str(error))
    finally:
        if file is not None:
            file.close()
    if as_json:
        print_json(
            {"file": str(to), "selection": str(selection), "events": exported.events, "positions": exported.positions}
        )
    elif to is not None:
        stdout_console().print(f"{exported.events} events added to {to}", markup=False, soft_wrap=True)
