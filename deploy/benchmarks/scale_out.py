"""Throughput of one, two and three handlers, and of as many relays, on three brokers."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.backlog import Backlog, create_backlog, run_handlers
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses
from deploy.benchmarks.latency import mark_all_relayed
from deploy.benchmarks.processes import RunningProcess, wait_until
from deploy.benchmarks.relay_probe import RelayProbe
from deploy.benchmarks.results import RATE, Case, Measurement, Scale, Target, interleave_rounds, measurement, ratio
from deploy.benchmarks.workload import mixed_records
from deploy.local.backing_services import ExternalServer
from deploy.local.cluster import KafkaCluster
from deploy.local.paths import STATE
from schemas.topics import count_lanes

BROKER_HEAP = "512m"
PROCESSES_MAX = 3
CORES_FOR_TARGETS = 8
"""Three brokers, PostgreSQL and two processes of ours: with fewer cores they only take time from each other."""
TAKEOVER_SECONDS = "60"
"""Relays stand still until the log is filled, and keep their lanes meanwhile."""
ACTIVE_METRIC = "moderation_relay_active"


async def scale_out(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure commands per second of handlers and records per second of relays, by their number."""
    with _three_brokers(bench_servers) as cluster:
        url = cluster.new_database()
        courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
        warm_up_records = mixed_records(courses, 10 * len(courses))
        records = mixed_records(courses, scale.choose(60_000, 3_000), first_number=len(warm_up_records))
        backlog = await create_backlog(cluster, url, records)
        counts = range(1, scale.choose(PROCESSES_MAX, 2) + 1)
        cases: dict[str, Case] = {}
        for count in counts:
            cases[_name("handler", count)] = partial(run_handlers, cluster, url, records, count, warm_up_records)
            cases[_name("relay", count)] = partial(_run_relays, backlog, count)
        rounds = await interleave_rounds(cases, scale.choose(5, 1))
    target = Target(150) if (os.cpu_count() or 1) >= CORES_FOR_TARGETS else None
    measurements: list[Measurement] = []
    for kind, unit in (("handler", "commands/s"), ("relay", "records/s")):
        one = rounds.values(_name(kind, 1))
        for count in counts:
            name, values = _name(kind, count), rounds.values(_name(kind, count))
            measurements.append(measurement(name, unit, values))
            if count > 1:
                measurements.append(ratio(f"{name}, to one", "%", values, one, target if count == 2 else None))
    return measurements


def _name(kind: str, count: int) -> str:
    return f"{count} {kind}{'s' * (count > 1)}"


@contextlib.contextmanager
def _three_brokers(bench_servers: BenchServers) -> Iterator[BenchServers]:
    """Start three brokers next to the benchmarks' PostgreSQL."""
    folder = STATE / f"{bench_servers.name}-brokers"
    brokers = KafkaCluster(folder, BROKER_HEAP)
    try:
        brokers.start()
        servers = BenchServers(ExternalServer(brokers.address), bench_servers.postgres)
        yield servers
        servers.clean()
    finally:
        brokers.kill()
        brokers.remove()
        shutil.rmtree(folder, ignore_errors=True)


async def _run_relays(backlog: Backlog, count: int) -> dict[str, float]:
    """Measure relays that share the lanes before the log has anything to publish.

    They are paused while a handler fills the log, so that all of them begin with everything.
    """
    servers = backlog.bench_servers
    url = servers.new_database(backlog.installation.url)
    target = await servers.new_installation(url)
    before = (await mark_all_relayed(target)).sequences
    settings = {**target.environment, "RELAY_TAKEOVER_SECONDS": TAKEOVER_SECONDS}
    with contextlib.ExitStack() as stack:
        relays = [stack.enter_context(RunningProcess("services.relay", settings)) for _ in range(count)]
        shares = sorted(len(range(number, count_lanes(), count)) for number in range(count))
        await wait_until(
            lambda: sorted(relay.get_metric(ACTIVE_METRIC) for relay in relays) == shares, f"lanes {shares}"
        )
        with _paused(relays):
            handler_settings = {**backlog.installation.environment, "DATABASE_URL": url}
            with RunningProcess("services.handler", handler_settings):
                await throughput_probe.wait_for_verdicts(url, backlog.verdicts_before + backlog.command_count)
        started_at = time.monotonic()
        with RelayProbe(target) as probe:
            relayed = await asyncio.to_thread(probe.wait_for, sum(before["verdicts"]) + backlog.command_count)
        seconds = time.monotonic() - started_at
    servers.drop_database(url)
    return {RATE: (relayed.records - sum(map(sum, before.values()))) / seconds}


@contextlib.contextmanager
def _paused(processes: Sequence[RunningProcess]) -> Iterator[None]:
    for process in processes:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process.pid, signal.SIGCONT)
