"""Every benchmark in its short form, so that none rots: it measures something, whatever that is."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.benchmarks.__main__ import BENCHMARKS
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.plots import AXIS_LABELS, plot
from deploy.benchmarks.results import Measurement, Scale
from deploy.local.backing_services import ExternalServer

PARALLELISM = 3


def test_every_benchmark_returns_measurements(bootstrap: str, postgres: str, tmp_path: Path) -> None:
    site = BenchServers(ExternalServer(bootstrap), ExternalServer(postgres))

    async def run_benchmark(name: str) -> list[Measurement]:
        return list(await BENCHMARKS[name](site, Scale(short=True)))

    try:
        # Side by side: what they find is not looked at.
        with ThreadPoolExecutor(PARALLELISM) as threads:
            found = dict(
                zip(BENCHMARKS, threads.map(lambda name: asyncio.run(run_benchmark(name)), BENCHMARKS), strict=True)
            )
    finally:
        site.clean()

    for name, figures in found.items():
        assert figures, name
        assert all(value > 0 for each in figures for value in each.values), (name, figures)
        assert bool(plot(name, figures, tmp_path)) == (name in AXIS_LABELS), name
