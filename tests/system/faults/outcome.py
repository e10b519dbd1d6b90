"""The outcome of a fault run, for its report."""

import sys
from dataclasses import dataclass, field

from tests.system.faults.checker.observations import Violation


@dataclass(frozen=True)
class Recovery:
    """``seconds``: until each shard decided and published again; ``server_seconds``: until the failed server did."""

    cell: str
    seconds: float
    server_seconds: float | None


@dataclass
class Outcome:
    """The outcome of a run, for the report. ``unchecked``: installations whose records no check has seen, and why."""

    seed: int
    seconds: float = 0
    commands: int = 0
    requests: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    recoveries: list[Recovery] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.violations and not self.errors and not self.unchecked


def say(text: str) -> None:
    """Print a line of progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
