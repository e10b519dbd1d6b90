"""Figures: each measured in several rounds, kept as JSON lines, shown as a table, and held against its target."""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.local.paths import ROOT

WIDTH = 100
RATE = "per_second"
Case = Callable[[], Awaitable[float | Mapping[str, float]]]
"""Measures something once: a rate, or several numbers by their names."""


@dataclass(frozen=True, slots=True)
class Target:
    """What the median of a figure must reach: ``bound`` at least, or at most."""

    bound: float
    at_most: bool = False

    def is_met(self, median: float) -> bool:
        """Whether a median reaches it."""
        return median <= self.bound if self.at_most else median >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity with a value for each round. ``at``: where it stands on its ``series`` of a plot, None for no plot."""

    case: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None
    at: float | None = None
    series: str = "handler"

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured. ``short``: little of everything, to see that it still works."""

    short: bool = False

    def of(self, full: int, short: int) -> int:
        """The number for this scale."""
        return short if self.short else full


def figure(
    case: str,
    unit: str,
    values: Iterable[float],
    target: Target | None = None,
    at: float | None = None,
    series: str = "handler",
) -> Figure:
    """A figure of one value a round."""
    return Figure(case, unit, tuple(values), target, at, series)


def ratio(case: str, unit: str, values: Sequence[float], to: Sequence[float], target: Target | None = None) -> Figure:
    """What ``values`` are of ``to``, round by round. ``unit`` "%" counts in hundredths, another in times."""
    times = 100 if unit == "%" else 1
    return figure(case, unit, (times * one / other for one, other in zip(values, to, strict=True)), target)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed: nothing is interpolated."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


class Rounds:
    """What was seen of each case in each round."""

    def __init__(self, cases: Iterable[str]) -> None:
        self.seen: dict[str, list[Mapping[str, float]]] = {case: [] for case in cases}

    def of(self, case: str, name: str = RATE) -> list[float]:
        """One of a case's numbers, round by round."""
        return [numbers[name] for numbers in self.seen[case]]


async def alternating(cases: Mapping[str, Case], rounds: int) -> Rounds:
    """Every case once a round, every other round backwards: whatever the machine does meanwhile, it does to all."""
    found = Rounds(cases)
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(list(cases)):
            seen = await cases[case]()
            found.seen[case].append(seen if isinstance(seen, Mapping) else {RATE: seen})
    return found


class Report:
    """The figures of one run."""

    def __init__(self, kept: Path, scale: Scale) -> None:
        self.kept = kept
        self.shared = {
            "run": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "machine": f"{os.cpu_count()} x {_processor()}",
            "short": scale.short,
        }

    def add(self, benchmark: str, figures: Sequence[Figure]) -> None:
        """Keep figures as JSON lines and print them as a table."""
        with self.kept.open("a") as lines:
            for each in figures:
                lines.write(json.dumps(self.shared | _line(benchmark, each), ensure_ascii=False) + "\n")
        Console(width=WIDTH).print(table(benchmark, figures))


def table(benchmark: str, figures: Sequence[Figure]) -> Table:
    """What a reader sees: medians, spreads, targets and whether they are met."""
    made = Table(title=benchmark, title_justify="left", title_style="bold", width=WIDTH)
    made.add_column("measured", ratio=1)
    for name in ("median", "lowest", "highest"):
        made.add_column(name, justify="right")
    made.add_column("unit")
    made.add_column("target", justify="right")
    made.add_column("met")
    for each in figures:
        target = "" if each.target is None else str(each.target)
        met = "" if each.target is None else "yes" if each.target.is_met(each.median) else "NO"
        numbers = (_shown(each.median), _shown(min(each.values)), _shown(max(each.values)))
        made.add_row(each.case, *numbers, each.unit, target, met, style="red" if met == "NO" else None)
    return made


def _line(benchmark: str, each: Figure) -> dict[str, object]:
    target = None if each.target is None else str(each.target)
    met = None if each.target is None else each.target.is_met(each.median)
    return {
        "benchmark": benchmark,
        "case": each.case,
        "unit": each.unit,
        "median": round(each.median, 3),
        "values": [round(value, 3) for value in each.values],
        "target": target,
        "met": met,
        "at": each.at,
    }


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
