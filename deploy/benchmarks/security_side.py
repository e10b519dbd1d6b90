"""Measures on an open or a secured Kafka and PostgreSQL: ``python -m deploy.benchmarks.security_side``.

A process of its own for each side, because Kafka's security settings are those of a process. It connects as the
administrator that its environment names; the measured processes connect as themselves. Reads the names of measurements
from standard input, and writes a JSON line for each.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import uvloop

from deploy.benchmarks.backlog import create_bound_token_factory, require_token_settings, run_handlers
from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import LOG_FILE, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses
from deploy.benchmarks.latency import run_handler_and_relay
from deploy.benchmarks.open_loop_sender import Headers, OpenLoopSender
from deploy.benchmarks.results import Scale, percentile
from deploy.benchmarks.workload import Json, build_record, mixed_command, mixed_records
from deploy.local.backing_services import ExternalServer
from deploy.local.secure_servers import Credentials

READY = "ready"
THROUGHPUT, LATENCY = "throughput", "latency"
P50, P99 = "p50_ms", "p99_ms"
COMMANDS_PER_SECOND = 500
WARM_UP_COMMANDS = 200


class Side:
    """Graded courses on one pair of servers, and commands for them; secured servers also require bound tokens."""

    def __init__(self, bench_servers: BenchServers, scale: Scale) -> None:
        self.bench_servers = bench_servers
        self.scale = scale
        self.token: Callable[[Json], str] | None = None
        self.settings: dict[str, str] = {}
        if bench_servers.credentials is not None:
            self.token = create_bound_token_factory()
            self.settings = {**require_token_settings(), "COMMAND_AUTH": "bound"}
        self._command_numbers = itertools.count()

    async def prepare(self) -> None:
        """Create the courses and the commands of all rounds of throughput."""
        choose = self.scale.choose
        self.url = self.bench_servers.new_database()
        self.courses = await create_graded_courses(self.url, courses_per_shard(choose(2, 1)), choose(50, 10))
        self.warm_up_records = mixed_records(self.courses, 10 * len(self.courses), self.token)
        self.records = mixed_records(self.courses, choose(30_000, 3_000), self.token, len(self.warm_up_records))
        self.latency_url = self.bench_servers.new_database(self.url)

    async def measure(self, name: str) -> Mapping[str, float]:
        """Measure once."""
        if name == THROUGHPUT:
            return await run_handlers(
                self.bench_servers,
                self.url,
                self.records,
                warm_up_records=self.warm_up_records,
                settings=self.settings,
            )
        return await self._measure_latency()

    async def _measure_latency(self) -> Mapping[str, float]:
        """Return the percentiles of the time from a command to its verdict on the topic, in an open loop."""
        async with run_handler_and_relay(self.bench_servers, self.latency_url, **self.settings) as installation:
            sender = OpenLoopSender(installation)
            with ArrivalProbe(installation, ("verdicts",)) as arrivals:
                await self._send(sender, arrivals, WARM_UP_COMMANDS)
                waits = await self._send(sender, arrivals, COMMANDS_PER_SECOND * self.scale.choose(10, 1))
        return {P50: percentile(waits, 0.5) * 1_000, P99: percentile(waits, 0.99) * 1_000}

    async def _send(self, sender: OpenLoopSender, arrivals: ArrivalProbe, count: int) -> list[float]:
        commands = [mixed_command(self.courses, number) for number in itertools.islice(self._command_numbers, count)]
        # Signed before they are due: a producer's time is not the service's.
        headers: dict[str, Headers] = {
            command["command_id"]: build_record(command, self.token).headers for command in commands
        }
        due_times = await sender.send(commands, COMMANDS_PER_SECOND, lambda command: headers[command["command_id"]])
        arrival_times = await arrivals.wait_for("verdicts", list(due_times))
        return [arrived - due for arrived, due in zip(arrival_times, due_times.values(), strict=True)]


async def main(arguments: list[str]) -> None:
    """Prepare, then measure what standard input names until it ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--credentials", type=Path)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args(arguments)
    logging.basicConfig(filename=LOG_FILE, level=logging.WARNING)
    bench_servers = BenchServers(
        ExternalServer(os.environ["KAFKA_BOOTSTRAP"]),
        ExternalServer(os.environ["DATABASE_URL"]),
        None if options.credentials is None else Credentials(options.credentials),
    )
    side = Side(bench_servers, Scale(options.short))
    try:
        await side.prepare()
        print(json.dumps(READY), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await side.measure(line.strip())), flush=True)
    finally:
        bench_servers.clean()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:]))
