"""Options that several commands share, and progress bars."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from schemas.fields import ID_MAX
from services.eventlog.feed_history import LogFilter

TIME_FORMATS = [
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S.%f%z",
    "%Y-%m-%d",
]
"""RFC 3339 as the service writes it, and shorter forms; %z also accepts Z."""
TIME_METAVAR = "TIME"


def parse_id_option(text: str) -> int:
    """Parse an id of the contract. Raises typer.BadParameter."""
    value = int(text) if re.fullmatch("[0-9]{1,19}", str(text)) else 0
    if not 1 <= value <= ID_MAX:
        raise typer.BadParameter(f"{text} is not an id: enter a number from 1 to {ID_MAX}")
    return value


JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
RootAccountOption = Annotated[int, typer.Option(parser=parse_id_option, metavar="ID", help="Root account of the ids.")]
RootAccountFilterOption = Annotated[
    int | None,
    typer.Option("--root-account", parser=parse_id_option, metavar="ID", help="Root account of the ids; 1 by default."),
]
CourseOption = Annotated[int | None, typer.Option(parser=parse_id_option, metavar="ID", help="Only this course.")]
AssignmentOption = Annotated[
    int | None, typer.Option(parser=parse_id_option, metavar="ID", help="Only this assignment.")
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(formats=TIME_FORMATS, metavar=TIME_METAVAR, help="Recorded at this time or later; UTC by default."),
]
UntilOption = Annotated[
    datetime | None, typer.Option(formats=TIME_FORMATS, metavar=TIME_METAVAR, help="Recorded before this time.")
]


def build_log_filter(
    root_account: int | None, course: int | None, assignment: int | None, since: datetime | None, until: datetime | None
) -> LogFilter:
    """Build the filter of the options; times without an offset are UTC."""
    if root_account is None and (course is not None or assignment is not None):
        root_account = 1
    since, until = (at.replace(tzinfo=UTC) if at and at.tzinfo is None else at for at in (since, until))
    return LogFilter(root_account, course, assignment, since, until)


def progress_bars() -> Progress:
    """Create progress bars on standard error; they are disabled unless it is a terminal."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<32}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
