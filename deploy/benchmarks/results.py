"""Measurements in several rounds: stored as JSON lines, printed as a table, compared with their targets."""

import json
import logging
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

LOGGER = logging.getLogger("bench")
WIDTH = 100
RATE = "per_second"
# The series of measurements that are parts of one time, in order.
TIMELINE_SERIES = "timeline"
Case = Callable[[], Awaitable[float | Mapping[str, float]]]
"""Measures once: returns a rate, or several numbers by name."""


@dataclass(frozen=True, slots=True)
class Target:
    """The bound that a median must reach, from below or from above.

    Targets are ratios within one run, or sizes: a time or a rate depends on the machine. The exception is the lateness
    of schedules, which the contract bounds.
    """

    bound: float
    at_most: bool = False

    def is_met(self, median: float) -> bool:
        """Return whether a median reaches the bound."""
        return median <= self.bound if self.at_most else median >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:,g}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A quantity, with one value per round. ``plot_position``: its x on the plot's ``series``; None if not plotted."""

    case: str
    unit: str
    values: tuple[float, ...]
    target: Target | None = None
    plot_position: float | None = None
    series: str = "handler"

    @property
    def median(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure. ``short``: few records, to check that everything works."""

    short: bool = False

    def choose(self, full: int, short: int) -> int:
        """Return the number for this scale."""
        return short if self.short else full


def measurement(
    case: str,
    unit: str,
    values: Iterable[float],
    target: Target | None = None,
    plot_position: float | None = None,
    series: str = "handler",
) -> Measurement:
    """Build a measurement of one value per round."""
    return Measurement(case, unit, tuple(values), target, plot_position, series)


def ratio(
    case: str, unit: str, values: Sequence[float], base_values: Sequence[float], target: Target | None = None
) -> Measurement:
    """Divide ``values`` by ``base_values``, round by round; in percent if ``unit`` is "%"."""
    factor = 100 if unit == "%" else 1
    return measurement(
        case, unit, (factor * one / base_value for one, base_value in zip(values, base_values, strict=True)), target
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile for this share: the smallest value that at least this share does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


class Rounds:
    """Results of each case in each round."""

    def __init__(self, cases: Iterable[str]) -> None:
        self.results: dict[str, list[Mapping[str, float]]] = {case: [] for case in cases}

    def values(self, case: str, name: str = RATE) -> list[float]:
        """Return one of a case's numbers, round by round."""
        return [numbers[name] for numbers in self.results[case]]


async def interleave_rounds(cases: Mapping[str, Case], rounds: int) -> Rounds:
    """Run every case once per round, in reverse in every other round, so that other load affects all cases equally."""
    rounds_by_case = Rounds(cases)
    for number in range(rounds):
        for case in cases if number % 2 == 0 else reversed(list(cases)):
            LOGGER.info("round %d of %d%s", number + 1, rounds, f": {case}" if case else "")
            result = await cases[case]()
            rounds_by_case.results[case].append(result if isinstance(result, Mapping) else {RATE: result})
    return rounds_by_case


class Report:
    """The measurements of one run; ``against``: the older commit that they compare this tree with."""

    def __init__(self, file: Path, scale: Scale, against: str | None = None) -> None:
        self.file = file
        self.run_fields = {
            "run": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
            "against": against,
            "machine": f"{os.cpu_count()} x {_processor()}",
            "short": scale.short,
        }

    def add(self, benchmark: str, measurements: Sequence[Measurement]) -> None:
        """Append measurements to the file as JSON lines, and print them as a table."""
        with self.file.open("a") as lines:
            for measurement in measurements:
                lines.write(
                    json.dumps(self.run_fields | _measurement_fields(benchmark, measurement), ensure_ascii=False) + "\n"
                )
        self.print(benchmark, measurements)

    @staticmethod
    def print(title: str, measurements: Sequence[Measurement]) -> None:
        """Print measurements as a table."""
        Console(width=WIDTH).print(build_table(title, measurements))


def build_table(benchmark: str, measurements: Sequence[Measurement]) -> Table:
    """Format a table of medians, spreads, targets, and whether they are met."""
    table = Table(title=benchmark, title_justify="left", title_style="bold", width=WIDTH)
    table.add_column("measured", ratio=1)
    for name in ("median", "lowest", "highest"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    table.add_column("met")
    for measurement in measurements:
        target = "" if measurement.target is None else str(measurement.target)
        met = "" if measurement.target is None else "yes" if measurement.target.is_met(measurement.median) else "NO"
        numbers = (
            _format_number(measurement.median),
            _format_number(min(measurement.values)),
            _format_number(max(measurement.values)),
        )
        table.add_row(measurement.case, *numbers, measurement.unit, target, met, style="red" if met == "NO" else None)
    return table


def _measurement_fields(benchmark: str, measurement: Measurement) -> dict[str, object]:
    target = None if measurement.target is None else str(measurement.target)
    met = None if measurement.target is None else measurement.target.is_met(measurement.median)
    return {
        "benchmark": benchmark,
        "case": measurement.case,
        "unit": measurement.unit,
        "median": round(measurement.median, 3),
        "values": [round(value, 3) for value in measurement.values],
        "target": target,
        "met": met,
        "at": measurement.plot_position,
    }


def _format_number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _commit() -> str:
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
