"""Every benchmark works in its short form, and its libraries write nothing to the terminal."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.benchmarks.__main__ import BENCHMARKS
from deploy.benchmarks.comparison import COMPARISONS, FIGURES, compare
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.large_commands import NONE_TARGET
from deploy.benchmarks.plots import PLOTTED, plot
from deploy.benchmarks.results import TIMELINE_SERIES, Measurement, Scale
from deploy.benchmarks.service_tree import checkout
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
        # The relay may begin before the handler is told of the commit.
        measured = [each for each in measurements if each.series != TIMELINE_SERIES]
        assert all(value > 0 or each.target == NONE_TARGET for each in measured for value in each.values), (
            name,
            measurements,
        )
        assert bool(plot(name, measurements, tmp_path)) == (name in PLOTTED), name


def test_comparison_of_a_tree_with_itself_returns_a_ratio_and_both_figures(
    bootstrap: str, postgres: str, capfd: pytest.CaptureFixture[str]
) -> None:
    servers = BenchServers(ExternalServer(bootstrap), ExternalServer(postgres))
    older_tree = checkout("HEAD")

    async def run_comparison(name: str) -> list[Measurement]:
        return await compare(servers, name, older_tree, Scale(short=True))

    try:
        with ThreadPoolExecutor(PARALLELISM) as threads:
            results = dict(
                zip(COMPARISONS, threads.map(lambda name: asyncio.run(run_comparison(name)), COMPARISONS), strict=True)
            )
    finally:
        servers.clean()
    assert capfd.readouterr() == ("", "")

    for name, measurements in results.items():
        assert len(measurements) == 3 * len(FIGURES[name])
        # Of few events, a first command may take less than a later one.
        measured = [each for each in measurements if "less a later one" not in each.case]
        assert all(value > 0 for each in measured for value in each.values), (name, measurements)
    assert {each.unit for each in results["handler"]} == {f"× {older_tree.name}", "µs", "/s"}
