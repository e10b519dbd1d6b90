"""``deploy/bench --against COMMIT``: this tree and an older one in turns, with the same load and the same probes."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.benchmarks import comparison_cases
from deploy.benchmarks.comparison_cases import Trees
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.memory import MEMORY_TARGET
from deploy.benchmarks.results import RATE, Measurement, Rounds, Scale, Target, measurement, ratio
from deploy.benchmarks.service_tree import THIS_TREE, ServiceTree

Comparison = Callable[[BenchServers, Trees, Scale], Awaitable[Rounds]]
COMPARISONS: Mapping[str, Comparison] = {
    "handler": comparison_cases.compare_handlers,
    "latency": comparison_cases.compare_latencies,
    "cold-start": comparison_cases.compare_cold_starts,
    "relay": comparison_cases.compare_relays,
    "memory": comparison_cases.compare_memory,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of each round. ``mark``: for the newer tree's divided by the older's; ``bound``: for the newer's own."""

    key: str
    title: str
    unit: str
    mark: Target | None = None
    bound: Target | None = None


FIGURES: Mapping[str, Sequence[Figure]] = {
    "handler": (
        Figure("handler_us", "handler's processor time per command", "µs", Target(0.76, at_most=True)),
        Figure("backend_us", "PostgreSQL's processor time per command", "µs"),
        Figure(RATE, "commands of one handler", "/s"),
    ),
    "latency": (
        Figure("10/s p50", "10/s: command to verdict, p50", "ms", Target(0.5, at_most=True)),
        Figure("10/s p99", "10/s: command to verdict, p99", "ms"),
        Figure("500/s p50", "500/s: command to verdict, p50", "ms"),
        Figure("500/s p99", "500/s: command to verdict, p99", "ms", Target(0.55, at_most=True)),
    ),
    "cold-start": (
        Figure("read", "cold start: first command less a later one", "ms", Target(0.37, at_most=True)),
        Figure("first", "first command of 30,000 events, to its commit", "ms"),
        Figure("next", "a later command of it", "ms"),
    ),
    "relay": (
        Figure("records", "records published", "/s", Target(1.5)),
        Figure("record_us", "relay's processor time per record", "µs"),
    ),
    "memory": (
        Figure("cached", "after commands in 1,000 assignments", "MiB", bound=MEMORY_TARGET),
        Figure("started", "handler just started", "MiB"),
    ),
}


async def compare(
    bench_servers: BenchServers, benchmark: str, older_tree: ServiceTree, scale: Scale
) -> list[Measurement]:
    """Measure both trees in turns; return each figure's ratio of the newer to the older, then both figures."""
    older, newer = older_tree.name, THIS_TREE.name
    rounds = await COMPARISONS[benchmark](bench_servers, {older: older_tree, newer: THIS_TREE}, scale)
    figures = FIGURES[benchmark]
    return [
        *(
            ratio(
                figure.title,
                f"× {older}",
                rounds.values(newer, figure.key),
                rounds.values(older, figure.key),
                figure.mark,
            )
            for figure in figures
        ),
        *(
            measurement(
                f"{figure.title}, {name}",
                figure.unit,
                rounds.values(name, figure.key),
                figure.bound if name == newer else None,
            )
            for figure in figures
            for name in (older, newer)
        ),
    ]
