"""Measures how fast handlers fill a log, by polling it."""

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
    """Commands decided so far, and the processor time that handlers and their PostgreSQL backends have used."""

    time: float
    commands: int
    handler_seconds: float
    backend_seconds: float

    def cost_until(self, later: "ProgressSample") -> float:
        """Return the processor seconds per command between two samples."""
        processor_seconds_used = (
            later.handler_seconds + later.backend_seconds - self.handler_seconds - self.backend_seconds
        )
        return processor_seconds_used / (later.commands - self.commands)


@dataclass(frozen=True, slots=True)
class Rate:
    """Samples from the first new verdict to the last."""

    samples: Sequence[ProgressSample]

    @property
    def per_second(self) -> float:
        """Commands decided per second."""
        return self._commands / (self.samples[-1].time - self.samples[0].time)

    @property
    def handler_us(self) -> float:
        """Processor time of the handlers per command, in microseconds."""
        return (self.samples[-1].handler_seconds - self.samples[0].handler_seconds) / self._commands * 1e6

    @property
    def backend_us(self) -> float:
        """Processor time of their PostgreSQL backends per command, in microseconds."""
        return (self.samples[-1].backend_seconds - self.samples[0].backend_seconds) / self._commands * 1e6

    @property
    def last_to_first(self) -> float:
        """Cost of the last tenth of the commands relative to the first.

        In processor time, because elapsed time depends on other load.
        """
        first, last = self.samples[0], self.samples[-1]
        after_first_tenth = next(s for s in self.samples if s.commands >= first.commands + self._commands / 10)
        before_last_tenth = next(s for s in self.samples if s.commands >= last.commands - self._commands / 10)
        return before_last_tenth.cost_until(last) / first.cost_until(after_first_tenth)

    def round_values(self) -> dict[str, float]:
        """Return the values for a round of a benchmark."""
        return {RATE: self.per_second, "handler_us": self.handler_us, "backend_us": self.backend_us}

    @property
    def _commands(self) -> int:
        return self.samples[-1].commands - self.samples[0].commands


async def count_verdicts(url: str) -> int:
    """Return the number of verdicts in the log."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        return await _count_verdicts(connection)


async def wait_for_verdicts(url: str, expected_count: int) -> None:
    """Wait until the log holds ``expected_count`` verdicts. Raises TimeoutError."""
    async with (
        asyncio.timeout(SECONDS_MAX),
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        while await _count_verdicts(connection) < expected_count:
            await asyncio.sleep(POLL_SECONDS)


async def _count_verdicts(connection: psycopg.AsyncConnection) -> int:
    row = await (await connection.execute(VERDICT_COUNT_QUERY, ("",))).fetchone()
    return int(row[0]) if row else 0


async def measure_rate(
    url: str, handlers: Sequence[RunningProcess], verdicts_before: int, expected_count: int, warm_up_count: int = 0
) -> Rate:
    """Sample from the first verdict after ``verdicts_before`` to the ``expected_count``-th.

    ``warm_up_count``: verdicts that are not counted, while the subscribers fill their caches.

    Raises:
        TimeoutError: the verdicts did not arrive in time.
        RuntimeError: all verdicts arrived before the first sample.
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
                    raise RuntimeError("all commands were decided before the first sample: measure with more commands")
                return Rate(samples)
            await asyncio.sleep(POLL_SECONDS)
    raise TimeoutError(f"fewer than {expected_count} commands were decided in {SECONDS_MAX} s; see .state/bench.log")
