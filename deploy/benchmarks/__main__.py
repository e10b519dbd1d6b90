"""``deploy/bench [--short] [NAME…]``: all of them by default."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from deploy.benchmarks import http, latency, memory, relay, scaling, throughput
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.plots import plot
from deploy.benchmarks.results import Measurement, Report, Scale
from deploy.local import backing_services
from deploy.local.paths import STATE

Benchmark = Callable[[BenchServers, Scale], Awaitable[Sequence[Measurement]]]
PLOTS_FOLDER = STATE / "plots"
BENCHMARKS: dict[str, Benchmark] = {
    "handler": throughput.handler,
    "batch-size": scaling.batch_size,
    "class-size": scaling.class_size,
    "log-size": scaling.log_size,
    "handlers": scaling.handlers,
    "latency": latency.latency,
    "publication": latency.publication,
    "relay": relay.relay,
    "http": http.http,
    "cold-start": memory.cold_start,
    "memory": memory.memory,
    "never-analyzed": scaling.never_analyzed,
    "old-snapshot": scaling.old_snapshot,
}


async def run_benchmarks(bench_servers: BenchServers, names: Sequence[str], report: Report, scale: Scale) -> None:
    """Run benchmarks one after the other; each leaves the site as it found it."""
    for name in names:
        measurements = await BENCHMARKS[name](bench_servers, scale)
        report.add(name, measurements)
        for file in plot(name, measurements, PLOTS_FOLDER):
            print(file)
        bench_servers.clean()


async def main(arguments: Sequence[str]) -> None:
    """Measure on servers of its own."""
    parser = argparse.ArgumentParser("deploy/bench", description="Benchmarks on a real Kafka and PostgreSQL.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS) + " (all by default)")
    parser.add_argument("--short", action="store_true", help="little of everything, to see that it works")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}: choose from {', '.join(BENCHMARKS)}")
    # As the handler does: some benchmarks decide in this process.
    gc.set_threshold(50_000, 20, 100)
    scale = Scale(options.short)
    bench_servers = BenchServers(
        backing_services.kafka_server("bench", heap="1g"), backing_services.postgres_server("bench")
    )
    bench_servers.start()
    try:
        await run_benchmarks(
            bench_servers, options.names or list(BENCHMARKS), Report(STATE / "bench.jsonl", scale), scale
        )
    finally:
        bench_servers.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:]))
