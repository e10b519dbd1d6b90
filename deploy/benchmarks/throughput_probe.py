"""How fast a log fills: looked at from outside while handlers work."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from deploy.benchmarks.processes import Running, processor_seconds
from deploy.benchmarks.results import RATE

SECONDS_MAX = 300
LOOK_EVERY_SECONDS = 0.02
DECIDED = """
select sum(h.verdict_number)::bigint, array(select a.pid from pg_stat_activity a
                                            where a.datname = current_database() and a.application_name = %s)
from heads(array(select shard from shard)) h
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """How far handlers are. ``handlers``, ``backends``: processor time used so far, of them and of their backends."""

    time: float
    commands: int
    handlers: float
    backends: float

    def cost_until(self, later: "Seen") -> float:
        """Processor time of a command between the two, in seconds."""
        used = later.handlers + later.backends - self.handlers - self.backends
        return used / (later.commands - self.commands)


@dataclass(frozen=True, slots=True)
class Rate:
    """What was seen from the first new verdict to the last."""

    seen: Sequence[Seen]

    @property
    def per_second(self) -> float:
        """Commands decided a second."""
        return self._commands / (self.seen[-1].time - self.seen[0].time)

    @property
    def handler_us(self) -> float:
        """Processor time of the handlers for a command, in microseconds."""
        return (self.seen[-1].handlers - self.seen[0].handlers) / self._commands * 1e6

    @property
    def backend_us(self) -> float:
        """The same of their PostgreSQL backends."""
        return (self.seen[-1].backends - self.seen[0].backends) / self._commands * 1e6

    @property
    def last_to_first(self) -> float:
        """What the last tenth of the commands took of what the first tenth did.

        By processor time: the clock's depends on what else the machine does at that time.
        """
        first, last = self.seen[0], self.seen[-1]
        after_first_tenth = next(s for s in self.seen if s.commands >= first.commands + self._commands / 10)
        before_last_tenth = next(s for s in self.seen if s.commands >= last.commands - self._commands / 10)
        return before_last_tenth.cost_until(last) / first.cost_until(after_first_tenth)

    def numbers(self) -> dict[str, float]:
        """For a round of a benchmark."""
        return {RATE: self.per_second, "handler_us": self.handler_us, "backend_us": self.backend_us}

    @property
    def _commands(self) -> int:
        return self.seen[-1].commands - self.seen[0].commands


async def verdicts(url: str) -> int:
    """How many verdicts the log holds."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(DECIDED, ("",))).fetchone()
    return int(row[0]) if row else 0


async def reached(url: str, wanted: int) -> None:
    """Return once the log holds so many verdicts. TimeoutError when it does not."""
    async with asyncio.timeout(SECONDS_MAX):
        while await verdicts(url) < wanted:
            await asyncio.sleep(LOOK_EVERY_SECONDS)


async def rate(url: str, handlers: Sequence[Running], before: int, wanted: int, skipped: int = 0) -> Rate:
    """From the first verdict seen beyond ``before`` to the ``wanted``-th. TimeoutError when it does not come.

    ``skipped``: how many are decided before anything counts, until every subscriber holds what it needs.
    """
    seen: list[Seen] = []
    deadline = time.monotonic() + SECONDS_MAX
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = await (await connection.execute(DECIDED, ("moderation-handler",))).fetchone()
            count, backends = row or (before, [])
            decided = int(count) - before
            if decided > skipped:
                used = sum(processor_seconds(handler.pid) for handler in handlers)
                behind = sum(processor_seconds(backend) for backend in backends)
                seen.append(Seen(time.monotonic(), decided, used, behind))
            if decided >= wanted:
                if seen[0].commands == decided:
                    raise RuntimeError("everything was decided before anybody looked: measure with more commands")
                return Rate(seen)
            await asyncio.sleep(LOOK_EVERY_SECONDS)
    raise TimeoutError(f"less than {wanted} commands were decided in {SECONDS_MAX} s: see .state/bench.log")
