"""A counted load: different commands, each sent once, and the times at which their verdicts arrive."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.system.faults.course_load import CourseLoad, Json
from tests.system.faults.installation import wait_until
from tests.system.faults.load import PROBE_SECONDS_MAX, Load

COURSES = 12
FIRST_COURSE = 500
"""Its courses are not those of the load that it runs with."""


class CountedLoad:
    """Sends commands ``rate`` times a second, at least ``count``, until it is finished; ``command_ids`` in order."""

    def __init__(self, load: Load, count: int, rate: float, chance: random.Random) -> None:
        self.command_ids: list[str] = []
        self._load, self._seed = load, chance.random()
        self._count, self._rate = count, rate
        self._stages: list[tuple[str, float]] = []
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._send_all, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin(self, stage: str) -> None:
        """Note that a stage begins: later gaps belong to it."""
        self._stages.append((stage, time.monotonic()))

    def finish(self) -> None:
        """Send what is missing to the count, and wait for a verdict of each command. Raises TimeoutError."""
        self._finishing.set()
        self._thread.join()
        self._load.wait_until_acknowledged()
        verdicts = self._load.installation.verdicts
        wait_until(lambda: all(i in verdicts for i in self.command_ids), "each has a verdict", PROBE_SECONDS_MAX)

    def count_verdicts(self) -> Counter[str]:
        """Return how many verdicts of each command the reader of the topic has received."""
        return Counter(command_id for command_id, _ in self._arrivals())

    def longest_gaps(self) -> dict[str, float]:
        """Return the longest time (seconds) without a verdict in each stage."""
        return longest_gaps([at for _, at in self._arrivals()], self._stages)

    def _arrivals(self) -> list[tuple[str, float]]:
        own = set(self.command_ids)
        lines = self._load.installation.history.lines
        return [
            (x["command_id"], x["at"]) for x in list(lines) if x["kind"] == "verdict_seen" and x["command_id"] in own
        ]

    def _send_all(self) -> None:
        commands = self._commands()
        while not self._finishing.is_set() or len(self.command_ids) < self._count:
            if (command := next(commands)) is not None:
                self.command_ids.append(command["command_id"])
                self._load.send(command)
            time.sleep(1 / self._rate)

    def _commands(self) -> Iterator[Json | None]:
        verdicts, seed = self._load.installation.verdicts, self._seed
        courses = [CourseLoad(FIRST_COURSE + n, random.Random(f"{seed} {n}"), verdicts) for n in range(COURSES)]
        for course in courses:
            yield from course.facts()
        generators = [course.commands() for course in courses]
        while True:
            for generator in generators:
                yield next(generator)


def longest_gaps(arrivals: Sequence[float], stages: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return the longest gap between arrivals by the stage in which it ends; the next stage ends a stage."""
    gaps = dict.fromkeys((name for name, _ in stages), 0.0)
    ends = [start for _, start in stages[1:]] + [float("inf")]
    for earlier, later in pairwise(sorted(arrivals)):
        for (name, start), end in zip(stages, ends, strict=True):
            if start < later <= end:
                gaps[name] = max(gaps[name], later - earlier)
    return gaps
