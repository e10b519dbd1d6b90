"""The outcome of a fault run, for its report."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.system.faults.checker.observations import Json, Violation


@dataclass(frozen=True)
class Recovery:
    """``seconds``: until each shard decided and published again; ``server_seconds``: until the failed server did."""

    cell: str
    seconds: float
    server_seconds: float | None


@dataclass
class Outcome:
    """The outcome of a run, for the report.

    ``unchecked``: installations whose records no check has seen, and why. ``missing_inputs``: invariants for which an
    installation had nothing to check, by its cell.
    """

    seed: int
    seconds: float = 0
    commands: int = 0
    requests: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recoveries: list[Recovery] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    missing_inputs: dict[str, list[str]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations and not self.errors and not self.unchecked

    def note_missing_inputs(self, cell: str, missing: Iterable[str]) -> None:
        """Note for which invariants an installation of a cell had nothing to check."""
        known = self.missing_inputs.setdefault(cell, [])
        known += [text for text in missing if text not in known]

    def note_exits(self, history: Iterable[Json]) -> None:
        """Add an error for each process that ended by itself, although it was started again."""
        exits = Counter((line["process"], line["code"]) for line in history if line["kind"] == "exit")
        for (process, code), times in sorted(exits.items()):
            self.errors.append(f"{process} ended by itself with code {code}, {times} time{'s' * (times > 1)}")


def say(text: str) -> None:
    """Print a line of progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
