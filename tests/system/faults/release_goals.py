"""How much a fault run injects before a release, and the cells that bring each count closer to its goal."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.system.faults.cells import Cell

COMMANDS = 100_000
MINUTES_MAX = 150


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


def describe_missed(injected: Mapping[str, int], commands: int) -> list[str]:
    """Return a line for each goal that was missed."""
    missed = [f"{' or '.join(goal.faults)} fewer than {goal.times} times" for goal in GOALS if goal.missing(injected)]
    return missed + ([f"{commands:,} commands, fewer than {COMMANDS:,}"] if commands < COMMANDS else [])
