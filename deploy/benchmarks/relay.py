"""Throughput of the relay, compared with the handler's, and the time from a commit to a readable record."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.backlog import Backlog, create_backlog
from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import OffsetAllocator, courses_per_shard, create_graded_courses, get_watermarks
from deploy.benchmarks.latency import PERCENTILES, mark_all_relayed
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.relay_probe import Relayed, measure_relay
from deploy.benchmarks.results import Measurement, Scale, Target, interleave_rounds, measurement, percentile, ratio
from deploy.benchmarks.workload import Course, build_record, mixed_command, mixed_records
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore

COMMITS_PER_SECOND, EVENTS_PER_COMMIT = 50, 10


async def relay(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure the commands per second that a relay publishes, and the time from commit to readable record."""
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
    backlog = await create_backlog(bench_servers, url, mixed_records(courses, scale.choose(60_000, 6_000)))
    rounds = await interleave_rounds({"": partial(_run_handler_then_relay, bench_servers, backlog)}, scale.choose(5, 1))
    waits = [
        await _measure_visibility(bench_servers, url, courses, scale.choose(10, 1)) for _ in range(scale.choose(3, 1))
    ]
    return [
        measurement("relay: commands (a verdict and its events each)", "/s", rounds.values("", "relay")),
        measurement("relay: records", "/s", rounds.values("", "records")),
        measurement("relay: processor time per command", "µs", rounds.values("", "relay_us")),
        measurement("handler alone, on the same commands", "/s", rounds.values("", "handler")),
        ratio("relay, of the handler", "%", rounds.values("", "relay"), rounds.values("", "handler"), Target(100)),
        *(
            measurement(
                f"{COMMITS_PER_SECOND * EVENTS_PER_COMMIT} events/s: commit to readable, p{share * 100:.0f}",
                "ms",
                [percentile(waits_of_round, share) * 1_000 for waits_of_round in waits],
            )
            for share in PERCENTILES
        ),
    ]


async def _run_handler_then_relay(bench_servers: BenchServers, backlog: Backlog) -> dict[str, float]:
    """Let a handler decide the backlog, then a new relay publish it to new topics."""
    url = bench_servers.new_database(backlog.installation.url)
    target = await bench_servers.new_installation(url)
    sequences = (await mark_all_relayed(target)).sequences
    relayed_before = Relayed(sum(sequences["verdicts"]), sum(map(sum, sequences.values())))
    settings = {**backlog.installation.environment, "DATABASE_URL": url}
    with RunningProcess("services.handler", settings) as handler:
        handler_rate = await throughput_probe.measure_rate(
            url, [handler], backlog.verdicts_before, backlog.command_count
        )
    with RunningProcess("services.relay", target.environment) as process:
        await process.wait_until_ready()
        relay_values = await asyncio.to_thread(
            measure_relay, target, process.pid, relayed_before, backlog.command_count
        )
    bench_servers.drop_database(url)
    return {"handler": handler_rate.per_second, **relay_values}


async def _measure_visibility(
    bench_servers: BenchServers, template: str, courses: Sequence[Course], seconds: int
) -> list[float]:
    """Measure from each commit until its events are readable, at a steady rate, without a handler."""
    url = bench_servers.new_database(template)
    target = await bench_servers.new_installation(url)
    await mark_all_relayed(target)
    with RunningProcess("services.relay", target.environment) as process:
        await process.wait_until_ready()
        with ArrivalProbe(target, ["events"]) as arrivals:
            await arrivals.wait_for(
                "events", list(await _commit_events(url, courses, COMMITS_PER_SECOND, "the first second"))
            )
            committed = await _commit_events(url, courses, seconds * COMMITS_PER_SECOND, "the others")
            arrival_times = await arrivals.wait_for("events", list(committed))
    bench_servers.drop_database(url)
    return [arrived_at - committed[command] for command, arrived_at in zip(committed, arrival_times, strict=True)]


async def _commit_events(url: str, courses: Sequence[Course], commits: int, source: str) -> dict[str, float]:
    """Decide a few commands at each tick; return when each was committed, by its id."""
    connection = await connect(url, "bench", WRITER)
    try:
        log = EventStore(connection)
        processor, offset_allocator = (
            CommandProcessor(log, await log.current_incarnation(source), DEFAULT_SHARD_COUNT),
            OffsetAllocator(),
        )
        command_numbers = iter(range(commits * EVENTS_PER_COMMIT * 2))
        committed: dict[str, float] = {}
        started_at = time.monotonic()
        for tick in range(commits):
            await asyncio.sleep(max(0.0, started_at + tick / COMMITS_PER_SECOND - time.monotonic()))
            commands: list[dict[str, object]] = []
            while len(commands) < EVENTS_PER_COMMIT:
                command = mixed_command(courses, next(command_numbers))
                # Commands of other users are refused and create no events.
                if command["actor"]["user_id"] in ("1", "2", "3"):
                    commands.append(command)
            records = [offset_allocator.to_consumer_record(build_record(command)) for command in commands]
            await processor.process(records, get_watermarks(records))
            now = time.monotonic()
            committed |= {str(command["command_id"]): now for command in commands}
    finally:
        await connection.close()
    return committed
