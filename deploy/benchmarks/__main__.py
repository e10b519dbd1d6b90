"""``deploy/bench [--short] [--against COMMIT] [NAME…]``: run the named benchmarks, or all."""

import argparse
import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

import uvloop

from deploy.benchmarks import (
    costly_requests,
    http,
    large_commands,
    latency,
    memory,
    publication,
    relay,
    scale_out,
    scaling,
    schedule_lateness,
    security,
    storage,
    throughput,
)
from deploy.benchmarks.comparison import COMPARISONS, compare
from deploy.benchmarks.environment import LOG_FILE, BenchServers
from deploy.benchmarks.plots import plot
from deploy.benchmarks.results import LOGGER, Measurement, Report, Scale
from deploy.benchmarks.service_tree import ServiceTree, checkout
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
    "publication": publication.publication,
    "lateness": schedule_lateness.lateness,
    "security": security.security,
    "relay": relay.relay,
    "scale": scale_out.scale_out,
    "storage": storage.storage,
    "large-commands": large_commands.large_commands,
    "http": http.http,
    "costly-requests": costly_requests.costly_requests,
    "cold-start": memory.cold_start,
    "memory": memory.memory,
    "never-analyzed": scaling.never_analyzed,
    "old-snapshot": scaling.old_snapshot,
}


async def run_comparisons(
    bench_servers: BenchServers, names: Sequence[str], older_tree: ServiceTree, report: Report, scale: Scale
) -> None:
    """Compare this tree with an older one, benchmark by benchmark; in the end, list the figures with targets again."""
    with_targets: list[Measurement] = []
    for number, name in enumerate(names, start=1):
        LOGGER.info("%s, in turns with %s (%d of %d)", name, older_tree.name, number, len(names))
        measurements = await compare(bench_servers, name, older_tree, scale)
        report.add(name, measurements)
        with_targets += [measurement for measurement in measurements if measurement.target is not None]
        bench_servers.clean()
    report.print("marks", with_targets)


async def run_benchmarks(bench_servers: BenchServers, names: Sequence[str], report: Report, scale: Scale) -> None:
    """Run benchmarks one after another, and remove the databases and topics of each."""
    for number, name in enumerate(names, start=1):
        LOGGER.info("%s (%d of %d)", name, number, len(names))
        measurements = await BENCHMARKS[name](bench_servers, scale)
        report.add(name, measurements)
        for file in plot(name, measurements, PLOTS_FOLDER):
            print(file)
        bench_servers.clean()


async def main(arguments: Sequence[str]) -> None:
    """Measure on servers that nothing else uses."""
    parser = argparse.ArgumentParser("deploy/bench", description="Benchmarks on a real Kafka and PostgreSQL.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS) + " (all by default)")
    parser.add_argument(
        "--short", action="store_true", help="run every benchmark with few records, to check that it works"
    )
    parser.add_argument(
        "--against",
        metavar="COMMIT",
        help=f"measure this tree and that of an older commit in turns, and print ratios; for {', '.join(COMPARISONS)}",
    )
    options = parser.parse_args(arguments)
    choices = list(BENCHMARKS if options.against is None else COMPARISONS)
    unknown = set(options.names) - set(choices)
    if unknown:
        parser.error(f"unknown {', '.join(sorted(unknown))}: choose from {', '.join(choices)}")
    _configure_logging()
    main_task = asyncio.current_task()
    assert main_task is not None
    # If it is ended from outside, it still ends the servers and processes that it started.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main_task.cancel)
    # As in the handler, because some benchmarks decide commands in this process.
    gc.set_threshold(50_000, 20, 100)
    scale = Scale(options.short)
    try:
        older_tree = None if options.against is None else checkout(options.against)
    except RuntimeError as error:
        sys.exit(f"deploy/bench: nothing was measured: {error}")
    bench_servers = BenchServers(
        backing_services.kafka_server("bench", heap="1g"), backing_services.postgres_server("bench")
    )
    bench_servers.start()
    report, names = (
        Report(STATE / "bench.jsonl", scale, None if older_tree is None else older_tree.name),
        options.names or choices,
    )
    try:
        if older_tree is None:
            await run_benchmarks(bench_servers, names, report, scale)
        else:
            await run_comparisons(bench_servers, names, older_tree, report, scale)
    finally:
        bench_servers.stop()


def _configure_logging() -> None:
    """Print our own progress; libraries log to the file that holds the processes' logs."""
    logging.basicConfig(filename=LOG_FILE, level=logging.WARNING)
    logging.captureWarnings(True)
    progress = logging.StreamHandler()
    progress.setFormatter(logging.Formatter("· %(message)s"))
    LOGGER.addHandler(progress)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(main(sys.argv[1:]))
        except asyncio.CancelledError:
            sys.exit(128 + signal.SIGTERM)
