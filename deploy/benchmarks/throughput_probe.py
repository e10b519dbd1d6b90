"""How fast a log fills: looked at from outside while handlers work."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from deploy.benchmarks.processes import RunningProcess, processor_seconds
from deploy.benchmarks.results import RATE

SECONDS_MAX = 300
POLL_SECONDS = 0.02
VERDICT_COUNT_QUERY = """
select sum(h.verdict_number)::bigint, array(select a.pid from pg_stat_activity a
                                            where a.datname = current_database() and a.application_name = %s)
from heads(array(select shard from shard)) h
"""


@dataclass(frozen=True, slots=True)
class ProgressSample:
    """How far handlers are. ``handler_seconds``, ``backend_seconds``: processor time used so far, of them and of
    their backends."""

    time: float
    commands: int
    handler_seconds: float
    backend_seconds: float

    def cost_until(self, later: "ProgressSample") -> float:
        """Processor time of a command between the two, in seconds."""
        processor_seconds_used = (
            later.handler_seconds + later.backend_seconds - self.handler_seconds - self.backend_seconds
        )
        return processor_seconds_used / (later.commands - self.commands)


@dataclass(frozen=True, slots=True)
class Rate:
    """What was seen from the first new verdict to the last."""

    samples: Sequence[ProgressSample]

    @property
    def per_second(self) -> float:
        """Commands decided a second."""
        return self._commands / (self.samples[-1].time - self.samples[0].time)

    @property
    def handler_us(self) -> float:
        """Processor time of the handlers for a command, in microseconds."""
        return (self.samples[-1].handler_seconds - self.samples[0].handler_seconds) / self._commands * 1e6

    @property
    def backend_us(self) -> float:
        """The same of their PostgreSQL backends."""
        return (self.samples[-1].backend_seconds - self.samples[0].backend_seconds) / self._commands * 1e6

    @property
    def last_to_first(self) -> float:
        """What the last tenth of the commands took of what the first tenth did.

        By processor time: the clock's depends on what else the machine does at that time.
        """
        first, last = self.samples[0], self.samples[-1]
        after_first_tenth = next(s for s in self.samples if s.commands >= first.commands + self._commands / 10)
        before_last_tenth = next(s for s in self.samples if s.commands >= last.commands - self._commands / 10)
        return before_last_tenth.cost_until(last) / first.cost_until(after_first_tenth)

    def round_values(self) -> dict[str, float]:
        """For a round of a benchmark."""
        return {RATE: self.per_second, "handler_us": self.handler_us, "backend_us": self.backend_us}

    @property
    def _commands(self) -> int:
        return self.samples[-1].commands - self.samples[0].commands


async def count_verdicts(url: str) -> int:
    """How many verdicts the log holds."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(VERDICT_COUNT_QUERY, ("",))).fetchone()
    return int(row[0]) if row else 0


async def wait_for_verdicts(url: str, expected_count: int) -> None:
    """Return once the log holds so many verdicts. TimeoutError when it does not."""
    async with asyncio.timeout(SECONDS_MAX):
        while await count_verdicts(url) < expected_count:
            await asyncio.sleep(POLL_SECONDS)


async def measure_rate(
    url: str, handlers: Sequence[RunningProcess], verdicts_before: int, expected_count: int, warm_up_count: int = 0
) -> Rate:
    """From the first verdict seen beyond ``verdicts_before`` to the ``expected_count``-th. TimeoutError when it does
    not come.

    ``warm_up_count``: how many are decided before anything counts, until every subscriber holds what it needs.
    """
    samples: list[ProgressSample] = []
    deadline = time.monotonic() + SECONDS_MAX
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while time.monotonic() < deadline:
            row = await (await connection.execute(VERDICT_COUNT_QUERY, ("moderation-handler",))).fetchone()
            count, backends = row or (verdicts_before, [])
            decided = int(count) - verdicts_before
            if decided > warm_up_count:
                handler_seconds = sum(processor_seconds(handler.pid) for handler in handlers)
                backend_seconds = sum(processor_seconds(backend) for backend in backends)
                samples.append(ProgressSample(time.monotonic(), decided, handler_seconds, backend_seconds))
            if decided >= expected_count:
                if samples[0].commands == decided:
                    raise RuntimeError("everything was decided before anybody looked: measure with more commands")
                return Rate(samples)
            await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"less than {expected_count} commands were decided in {SECONDS_MAX} s: see .state/bench.log")
