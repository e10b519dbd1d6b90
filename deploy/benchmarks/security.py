"""What TLS, SASL, access control lists and a token bound to each command cost: secured servers next to open ones."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from deploy.benchmarks.environment import LOG_FILE, BenchServers
from deploy.benchmarks.results import Case, Measurement, Rounds, Scale, interleave_rounds, measurement, ratio
from deploy.benchmarks.security_side import COMMANDS_PER_SECOND, LATENCY, P50, P99, READY, THROUGHPUT
from deploy.local.kafka_security import ADMINISTRATOR
from deploy.local.paths import ROOT
from deploy.local.secure_servers import SecureServers

OPEN, SECURED = "open", "TLS, SASL and bound tokens"
STOP_SECONDS_MAX = 60


async def security(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure a handler's throughput, and the latency of handler and relay, on open and on secured servers in turns."""
    open_servers = {"KAFKA_BOOTSTRAP": bench_servers.kafka.address, "DATABASE_URL": bench_servers.postgres.address}
    with (
        _secured_servers() as servers,
        SideProcess(open_servers, [], scale) as open_side,
        SideProcess(
            {
                **servers.credentials.identity(ADMINISTRATOR, servers.postgres.address),
                "KAFKA_BOOTSTRAP": servers.kafka.address,
            },
            ["--credentials", str(servers.credentials.folder)],
            scale,
        ) as secured_side,
    ):
        sides = {OPEN: open_side, SECURED: secured_side}
        for side in sides.values():
            await side.wait_until_ready()
        cases: dict[str, Case] = {
            _case(name, side): partial(sides[side].measure, name) for name in (THROUGHPUT, LATENCY) for side in sides
        }
        return _measurements(await interleave_rounds(cases, scale.choose(5, 1)))


def _case(name: str, side: str) -> str:
    return f"{name}, {side}"


def _measurements(rounds: Rounds) -> list[Measurement]:
    """List each figure of both sides, and the secured one relative to the open one, round by round."""
    figures = {
        "handler": (THROUGHPUT, "per_second", "/s"),
        "handler: processor time": (THROUGHPUT, "handler_us", "µs"),
        "handler: processor time, PostgreSQL": (THROUGHPUT, "backend_us", "µs"),
        f"{COMMANDS_PER_SECOND}/s: command to verdict, p50": (LATENCY, P50, "ms"),
        f"{COMMANDS_PER_SECOND}/s: command to verdict, p99": (LATENCY, P99, "ms"),
    }
    measurements = []
    for title, (name, number, unit) in figures.items():
        open_values, secured_values = (rounds.values(_case(name, side), number) for side in (OPEN, SECURED))
        measurements += [
            measurement(f"{title}, {OPEN}", unit, open_values),
            measurement(f"{title}, {SECURED}", unit, secured_values),
            ratio(f"{title}, secured to open", "times", secured_values, open_values),
        ]
    return measurements


class SideProcess:
    """Runs :mod:`deploy.benchmarks.security_side` while the block runs; its log is .state/bench.log."""

    def __init__(self, environment: Mapping[str, str], arguments: list[str], scale: Scale) -> None:
        self.environment = {**os.environ, **environment}
        self.arguments = [*arguments, *(["--short"] if scale.short else [])]

    def __enter__(self) -> Self:
        with LOG_FILE.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.benchmarks.security_side", *self.arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # At the end of its input it removes its databases and topics.
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            self._process.communicate(timeout=STOP_SECONDS_MAX)
        self._process.kill()
        self._process.wait()

    async def wait_until_ready(self) -> None:
        """Wait until courses and commands are prepared. Raises RuntimeError if the process has ended."""
        answer = await asyncio.to_thread(self._read)
        assert answer == READY, answer

    async def measure(self, name: str) -> dict[str, float]:
        """Measure once. Raises RuntimeError if the process has ended."""
        return await asyncio.to_thread(self._ask, name)

    def _ask(self, name: str) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = self._read()
        return answer

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a side of the security benchmark has ended; see {LOG_FILE}")
        return json.loads(line)


@contextlib.contextmanager
def _secured_servers() -> Iterator[SecureServers]:
    """Run a secured Kafka and PostgreSQL without data of an earlier run; they are removed at the end."""
    servers = SecureServers("bench-secured", heap="1g")
    _remove(servers)
    servers.create_certificates()
    try:
        servers.kafka.start()
        servers.postgres.start()
        yield servers
    finally:
        _remove(servers)


def _remove(servers: SecureServers) -> None:
    for server in (servers.kafka, servers.postgres):
        server.kill()
        server.remove()
    servers.remove_credentials()
