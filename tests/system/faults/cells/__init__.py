"""The cells of the fault matrix, by kind: each is a function that injects one fault and ends when it is over.

``shared`` cells run on one installation under load; the others make an installation of their own, and judge it. A cell
that fails before, or forgets to, is in the report under "Not checked".
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.system.faults.fault_run import FaultRun

KINDS = (
    "processes",
    "schedulers",
    "brokers",
    "postgres",
    "disks",
    "topics",
    "groups",
    "restores",
    "installations",
    "clocks",
    "commands",
    "drills",
)
"""Modules of this package."""


@dataclass(frozen=True)
class Cell:
    """``weight``: how often it is chosen, relative to others, in a run of some minutes; 0: once, before the others."""

    name: str
    kind: str
    description: str
    inject: Callable[[FaultRun], None]
    weight: int
    is_shared: bool


CELLS: dict[str, Cell] = {}


def cell(*, weight: int = 1, shared: bool = True) -> Callable[[Callable[[FaultRun], None]], Callable[[FaultRun], None]]:
    """Register a function as a cell; the first line of its docstring describes it."""

    def register(function: Callable[[FaultRun], None]) -> Callable[[FaultRun], None]:
        kind = function.__module__.rpartition(".")[2]
        description = (function.__doc__ or "").strip().splitlines()[0]
        CELLS[function.__name__] = Cell(function.__name__, kind, description, function, weight, shared)
        return function

    return register


def load_cells() -> dict[str, Cell]:
    """Return all cells by name, ordered by kind."""
    for kind in KINDS:
        importlib.import_module(f"{__name__}.{kind}")
    return CELLS


def list_cells() -> Iterator[str]:
    """Return a line for each cell."""
    for each in load_cells().values():
        yield f"{each.kind:<14} {each.name:<34} {each.description}"
