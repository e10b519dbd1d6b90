"""Every benchmark works in its short form, and its libraries write nothing to the terminal."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.benchmarks.__main__ import BENCHMARKS
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.plots import AXIS_LABELS, plot
from deploy.benchmarks.results import Measurement, Scale
from deploy.local.backing_services import ExternalServer

PARALLELISM = 3


def test_every_benchmark_returns_measurements_and_prints_nothing(
    bootstrap: str, postgres: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    servers = BenchServers(ExternalServer(bootstrap), ExternalServer(postgres))

    async def run_benchmark(name: str) -> list[Measurement]:
        return list(await BENCHMARKS[name](servers, Scale(short=True)))

    try:
        # Run concurrently, because the values are not compared.
        with ThreadPoolExecutor(PARALLELISM) as threads:
            results = dict(
                zip(BENCHMARKS, threads.map(lambda name: asyncio.run(run_benchmark(name)), BENCHMARKS), strict=True)
            )
    finally:
        servers.clean()
    assert capfd.readouterr() == ("", "")

    for name, measurements in results.items():
        assert measurements, name
        assert all(value > 0 for each in measurements for value in each.values), (name, measurements)
        assert bool(plot(name, measurements, tmp_path)) == (name in AXIS_LABELS), name
