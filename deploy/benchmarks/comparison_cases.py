"""The cases of comparisons: each runs a tree's processes on a log that its own handler has filled."""

import asyncio
import statistics
import time
from collections.abc import Mapping
from functools import partial
from itertools import chain

import psycopg

from deploy.benchmarks.backlog import run_handlers
from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.filled_log import FilledLog, fill_log
from deploy.benchmarks.in_process import courses_per_shard
from deploy.benchmarks.memory import EVENTS_PER_STUDENT, comment_command
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.relay_probe import Relayed, RelayProbe, measure_relay
from deploy.benchmarks.results import (
    LOGGER,
    Case,
    Rounds,
    Scale,
    interleave_rounds,
    percentile,
)
from deploy.benchmarks.service_tree import ServiceTree
from deploy.benchmarks.throughput_probe import VERDICT_COUNT_QUERY, count_verdicts
from deploy.benchmarks.workload import (
    FIRST_STUDENT,
    GRADER,
    SECOND_GRADER,
    Json,
    build_command,
    build_record,
    grade_command,
    mixed_command,
    mixed_records,
)
from services.kafka.partitioning import get_course_shard

RATES = (10, 500)
SECONDS_MAX = 60
Trees = Mapping[str, ServiceTree]


async def compare_handlers(bench_servers: BenchServers, trees: Trees, scale: Scale) -> Rounds:
    """Decide a backlog of mixed commands, with the states cached."""
    cases: dict[str, Case] = {}
    for name, tree in trees.items():
        log = await _fill_mixed(bench_servers, tree, scale)
        warm_up_records = mixed_records(log.courses, 10 * len(log.courses))
        records = mixed_records(log.courses, scale.choose(60_000, 3_000), first_number=len(warm_up_records))
        cases[name] = partial(run_handlers, bench_servers, log.url, records, warm_up_records=warm_up_records, tree=tree)
    return await interleave_rounds(cases, scale.choose(5, 1))


async def compare_latencies(bench_servers: BenchServers, trees: Trees, scale: Scale) -> Rounds:
    """Send commands at steady rates, open loop, until their verdicts are readable on the topic."""
    logs = {name: await _fill_mixed(bench_servers, tree, scale) for name, tree in trees.items()}
    cases: dict[str, Case] = {name: partial(_measure_latency, bench_servers, log, scale) for name, log in logs.items()}
    return await interleave_rounds(cases, scale.choose(5, 1))


async def _measure_latency(bench_servers: BenchServers, log: FilledLog, scale: Scale) -> dict[str, float]:
    url = bench_servers.new_database(log.url)
    installation = await bench_servers.new_installation(url, log.tree)
    values: dict[str, float] = {}
    with (
        RunningProcess("services.handler", installation.environment, log.tree) as handler,
        RunningProcess("services.relay", installation.environment, log.tree) as relay,
    ):
        await handler.wait_until_ready()
        await relay.wait_until_ready()
        with RelayProbe(installation) as probe:
            await asyncio.to_thread(probe.wait_for, await count_verdicts(url))
        sender, first_number = OpenLoopSender(installation), 0
        with ArrivalProbe(installation, ("verdicts",)) as arrivals:
            # The first ones fill the handler's cache; they are not counted.
            for per_second, count in ((200, 400), *((rate, rate * scale.choose(15, 1)) for rate in RATES)):
                commands = [mixed_command(log.courses, first_number + number) for number in range(count)]
                first_number += count
                due_times = await sender.send(commands, per_second)
                arrival_times = await arrivals.wait_for("verdicts", list(due_times))
                waits = [
                    1_000 * (arrived_at - due_at)
                    for due_at, arrived_at in zip(due_times.values(), arrival_times, strict=True)
                ]
                values |= {f"{per_second}/s p{share * 100:.0f}": percentile(waits, share) for share in (0.5, 0.99)}
    bench_servers.drop_database(url)
    return values


async def compare_cold_starts(bench_servers: BenchServers, trees: Trees, scale: Scale) -> Rounds:
    """Restart a handler, and send commands of an assignment with 30,000 events.

    Each tree's handler has read the assignment once before, so that one with snapshots has written it.
    """
    course_id, students = 1_001, scale.choose(5_000, 20)
    # A course of the same shard, so that the subscriber of the measured command has connected and decided before.
    other_id = next(
        other for other in range(course_id + 1, 9_999) if get_course_shard(other) == get_course_shard(course_id)
    )
    cases: dict[str, Case] = {}
    for name, tree in trees.items():
        log = await fill_log(bench_servers, tree, [course_id], students)
        (assignment,) = log.courses[0].stream_numbers
        graders = (SECOND_GRADER, GRADER, SECOND_GRADER, GRADER, SECOND_GRADER)[: EVENTS_PER_STUDENT - 1]
        async with log.run_handler():
            await log.decide(
                build_record(
                    grade_command(course_id, assignment, FIRST_STUDENT + student, (turn + student) % 101, grader)
                )
                for turn, grader in enumerate(graders)
                for student in range(students)
            )
        await _measure_cold_start(log, assignment, other_id)
        cases[name] = partial(_measure_cold_start, log, assignment, other_id)
    return await interleave_rounds(cases, scale.choose(5, 1))


async def _measure_cold_start(log: FilledLog, assignment: int, other_course_id: int) -> dict[str, float]:
    (course,) = log.courses
    others = [build_command(other_course_id, "upsert_course", {"name": f"Course {number}"}) for number in range(3)]
    comments = [comment_command(course, assignment) for _ in range(6)]
    async with log.run_handler():
        sender = OpenLoopSender(log.installation)
        for command in others:
            await _time_commit(log.url, sender, command)
        first, *later = [await _time_commit(log.url, sender, comment) for comment in comments]
    next_ = statistics.median(later)
    return {"first": first, "next": next_, "read": first - next_}


async def _time_commit(url: str, sender: OpenLoopSender, command: Json) -> float:
    """Return the milliseconds from when a command is due until its verdict is committed. Raises TimeoutError."""
    expected_count = await count_verdicts(url) + 1
    (due_at,) = (await sender.send([command], 1)).values()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while time.monotonic() < due_at + SECONDS_MAX:
            row = await (await connection.execute(VERDICT_COUNT_QUERY, ("",))).fetchone()
            if row is not None and row[0] >= expected_count:
                return 1_000 * (time.monotonic() - due_at)
            await asyncio.sleep(0.001)
    raise TimeoutError(f"no verdict within {SECONDS_MAX} s; see .state/bench.log")


async def compare_relays(bench_servers: BenchServers, trees: Trees, scale: Scale) -> Rounds:
    """Publish a log of mixed commands from its beginning to new topics."""
    cases: dict[str, Case] = {}
    for name, tree in trees.items():
        log = await _fill_mixed(bench_servers, tree, scale)
        async with log.run_handler():
            await log.decide(mixed_records(log.courses, scale.choose(120_000, 3_000)))
        cases[name] = partial(_measure_relay, bench_servers, log, await count_verdicts(log.url))
    return await interleave_rounds(cases, scale.choose(5, 1))


async def _measure_relay(bench_servers: BenchServers, log: FilledLog, verdicts: int) -> dict[str, float]:
    installation = await bench_servers.new_installation(log.url, log.tree)
    with RunningProcess("services.relay", installation.environment, log.tree) as relay:
        await relay.wait_until_ready()
        return await asyncio.to_thread(measure_relay, installation, relay.pid, Relayed(0, 0), verdicts)


async def compare_memory(bench_servers: BenchServers, trees: Trees, scale: Scale) -> Rounds:
    """Send a handler that has just started a command in each of many assignments of 300 provisional grades."""
    students, assignment_count = scale.choose(300, 20), scale.choose(10, 2)
    cases: dict[str, Case] = {}
    for name, tree in trees.items():
        course_ids = range(1_001, 1_001 + scale.choose(100, 6))
        log = await fill_log(bench_servers, tree, course_ids, students, assignment_count)
        async with log.run_handler():
            # A course at a time, so that its states are cached.
            await log.decide(
                chain.from_iterable(mixed_records([course], students * assignment_count) for course in log.courses)
            )
        cases[name] = partial(_measure_memory, log)
    return await interleave_rounds(cases, 1)


async def _measure_memory(log: FilledLog) -> dict[str, float]:
    comments = [
        build_record(comment_command(course, assignment))
        for course in log.courses
        for assignment in course.stream_numbers
    ]
    async with log.run_handler() as handler:
        started = handler.memory_mib()
        await log.decide(comments)
        return {"started": started, "cached": handler.memory_mib()}


async def _fill_mixed(bench_servers: BenchServers, tree: ServiceTree, scale: Scale) -> FilledLog:
    """Fill a log with the courses of the mixed commands."""
    LOGGER.info("filling a log of %s", tree.name)
    return await fill_log(bench_servers, tree, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10))
