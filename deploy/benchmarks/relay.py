"""Throughput of the relay, compared with the handler's, and the time from a commit to a readable record."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from confluent_kafka import Consumer, TopicPartition

from deploy.benchmarks import throughput_probe
from deploy.benchmarks.backlog import Backlog, create_backlog
from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import OffsetAllocator, courses_per_shard, create_graded_courses, get_watermarks
from deploy.benchmarks.latency import PERCENTILES, mark_all_relayed
from deploy.benchmarks.processes import RunningProcess, processor_seconds
from deploy.benchmarks.results import Measurement, Scale, Target, interleave_rounds, measurement, percentile, ratio
from deploy.benchmarks.workload import Course, build_record, mixed_command, mixed_records
from deploy.local.kafka import client_settings
from schemas.topics import DEFAULT_SHARD_COUNT, count_lanes
from services.commands.processor import CommandProcessor
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import full_topic_name

SECONDS_MAX = 120
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
    progress_before = await mark_all_relayed(target)
    settings = {**backlog.installation.environment, "DATABASE_URL": url}
    with RunningProcess("services.handler", settings) as handler:
        handler_rate = await throughput_probe.measure_rate(
            url, [handler], backlog.verdicts_before, backlog.command_count
        )
    with RunningProcess("services.relay", target.environment) as process:
        relay_values = await asyncio.to_thread(
            _measure_relay, target, process.pid, progress_before, backlog.command_count
        )
    bench_servers.drop_database(url)
    return {"handler": handler_rate.per_second, **relay_values}


def _measure_relay(
    target: BenchInstallation, pid: int, progress_before: RelayProgress, expected_count: int
) -> dict[str, float]:
    """Measure from the first transaction to the last, by the progress that each commits."""
    consumer = Consumer(client_settings(target.bootstrap) | {"group.id": "bench", "enable.auto.commit": False})
    name = full_topic_name(target.prefix, "progress")
    consumer.assign([TopicPartition(name, lane, 0) for lane in range(count_lanes())])
    progress_by_lane: dict[int | None, RelayProgress] = {}
    first_sample: tuple[float, float, int, int] | None = None
    deadline = time.monotonic() + SECONDS_MAX
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is None or message.error():
                continue
            now, processor_time = time.monotonic(), processor_seconds(pid)
            progress_by_lane[message.partition()] = RelayProgress.decode(message.value() or b"")
            progress = RelayProgress.merge(progress_by_lane.values())
            if len(progress_by_lane) < count_lanes():
                continue
            commands = sum(progress.sequences["verdicts"]) - sum(progress_before.sequences["verdicts"])
            records = sum(map(sum, progress.sequences.values())) - sum(map(sum, progress_before.sequences.values()))
            if first_sample is None and commands:
                first_sample = now, processor_time, commands, records
            if first_sample is not None and commands >= expected_count:
                seconds, relayed_commands = now - first_sample[0], commands - first_sample[2]
                return {
                    "relay": relayed_commands / seconds,
                    "records": (records - first_sample[3]) / seconds,
                    "relay_us": (processor_time - first_sample[1]) / relayed_commands * 1e6,
                }
    finally:
        consumer.close()
    raise TimeoutError(
        f"the relay published fewer than {expected_count} commands in {SECONDS_MAX} s; see .state/bench.log"
    )


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
