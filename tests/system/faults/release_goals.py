"""How much a fault run injects before a release, the cells that bring each count closer, and how fast all recovers."""

import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.system.faults.cells import Cell
from tests.system.faults.outcome import Outcome, Recovery

COMMANDS = 100_000
MINUTES_MAX = 150
RECOVERED_SHARE = 0.95
SECONDS_MAX = {
    "kill_handler": 5,
    "kill_relay": 5,
    "kill_pair": 5,
    "kill_postgres": 5,
    "fail_over": 5,
    # Its session is 2.5 s.
    "kill_broker": 6,
}
"""By cell: within how many seconds this share of its recoveries is over. Other cells have no target."""


@dataclass(frozen=True)
class Goal:
    """``faults``: which faults count; ``cells``: which cells inject them."""

    times: int
    faults: Sequence[str]
    cells: Sequence[str]

    def missing(self, injected: Mapping[str, int]) -> float:
        """Return which share of the goal is missing, from 0 to 1."""
        return max(1 - sum(injected.get(fault, 0) for fault in self.faults) / self.times, 0)


GOALS = (
    Goal(300, ("handler killed",), ("kill_handler", "kill_pair", "kill_all")),
    Goal(100, ("relay killed",), ("kill_relay", "kill_pair", "kill_all")),
    Goal(50, ("PostgreSQL killed", "PostgreSQL failover"), ("kill_postgres", "fail_over", "kill_postgres_and_process")),
    Goal(50, ("broker killed",), ("kill_broker", "kill_broker_and_process", "fail_over_and_kill_broker")),
)


def until_goals_are_met(
    cells: Sequence[Cell],
    injected: Mapping[str, int],
    count_commands: Callable[[], int],
    chance: random.Random,
    minutes_max: float = MINUTES_MAX,
) -> Iterator[Cell]:
    """Yield cells for the goal that is furthest away, then any by weight, until faults and commands are enough.

    ``injected``: how often each fault was injected, current at every step. Ends after ``minutes_max`` at the latest.
    """
    by_name = {cell.name: cell for cell in cells if cell.weight}
    deadline = time.monotonic() + 60 * minutes_max
    while time.monotonic() < deadline:
        furthest = max(GOALS, key=lambda goal: goal.missing(injected))
        if furthest.missing(injected):
            yield by_name[chance.choice(furthest.cells)]
        elif count_commands() < COMMANDS:
            yield chance.choices(list(by_name.values()), [cell.weight for cell in by_name.values()])[0]
        else:
            return


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def describe_missed(outcome: Outcome, commands: int, cells: Collection[str], chosen: Collection[str]) -> list[str]:
    """Return a line for each goal that was missed. ``cells``: all of them; ``chosen``: those whose turn came."""
    injected = outcome.faults
    missed = [f"{' or '.join(goal.faults)} fewer than {goal.times} times" for goal in GOALS if goal.missing(injected)]
    missed += [f"{commands:,} commands, fewer than {COMMANDS:,}"] if commands < COMMANDS else []
    missed += [f"{cell}: not run, and a release runs every cell" for cell in cells if cell not in chosen]
    missed += [f"{skipped}; a release runs every cell" for skipped in outcome.skipped]
    return [*missed, *_describe_slow(outcome.recoveries)]


def _describe_slow(recoveries: Sequence[Recovery]) -> Iterator[str]:
    for cell, seconds_max in SECONDS_MAX.items():
        seconds = [recovery.seconds for recovery in recoveries if recovery.cell == cell]
        if not seconds:
            yield f"{cell}: no recovery was measured"
        elif (slow := percentile(seconds, RECOVERED_SHARE)) > seconds_max:
            times = f"{len(seconds)} recoveries" if len(seconds) > 1 else "one recovery"
            yield f"{cell}: {RECOVERED_SHARE:.0%} of {times} took up to {slow:.1f} s, the target is {seconds_max} s"
