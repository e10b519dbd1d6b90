"""Prints for people and for scripts."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.runtime.command_line import escape_unprintable

LABEL_WIDTH = 15


def stdout_console() -> Console:
    """Return the standard output, as wide as the terminal or 80 columns."""
    return Console(highlight=False)


def print_json(value: Any) -> None:
    """Print one JSON value on one line, in UTF-8."""
    typer.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_fields(console: Console, fields: Mapping[str, Any]) -> None:
    """Print a name and its value on each line; leave out None."""
    width = max(LABEL_WIDTH, *(len(name) + 2 for name in fields))
    for name, value in fields.items():
        if value is not None:
            console.print(
                Text.assemble((f"  {escape_unprintable(name):<{width}}", "dim"), escape_unprintable(value)),
                soft_wrap=True,
            )


def build_table(*columns: str, right: tuple[str, ...] = (), fold: str | tuple[str, ...] = ()) -> Table:
    """Build a table; ``right``: right-aligned columns; ``fold``: those that wrap instead of being cut.

    Where the columns that do not wrap fill the terminal, one that does alone gets no room at all: name several.
    """
    folded = (fold,) if isinstance(fold, str) else fold
    table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=False)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in folded,
            # A narrow terminal cuts texts, not numbers.
            min_width=len(column) if column in right else None,
            overflow="fold" if column in folded else "ellipsis",
        )
    return table


def add_row(table: Table, *cells: Any, style: str | None = None) -> None:
    """Add a row of plain texts; None becomes a dash."""
    table.add_row(*(Text("–" if cell is None else escape_unprintable(cell)) for cell in cells), style=style)
