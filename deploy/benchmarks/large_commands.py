"""A class whose grades are posted and hidden in turns: commands of 200 bytes, each with an event for every student.

Handler and relay must bound their memory, keep their places in their groups, and go on serving other courses.
"""

import asyncio
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain

import psycopg
from prometheus_client.parser import text_string_to_metric_families

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses, decide
from deploy.benchmarks.latency import PERCENTILES, mark_all_relayed
from deploy.benchmarks.memory import comment_command
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import LOGGER, Measurement, Scale, Target, measurement, percentile
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    Course,
    Json,
    build_command,
    build_record,
    first_grade_commands,
    list_assignment_ids,
    roster_commands,
)
from services.kafka.partitioning import get_course_shard

CLASS_COURSE = 1_000_001
MEMORY_TARGET, NONE_TARGET = Target(600, at_most=True), Target(0, at_most=True)
# Neighbours send all the time, in chunks: a chunk is never late because of an earlier one's verdicts.
NEIGHBOURS_PER_SECOND = 24
CHUNK_SECONDS = 5
LIVE_POLL_SECONDS = 0.2
DECIDED_SECONDS_MAX = 3_600
REBALANCES = "moderation_rebalances"
EVENT_COUNT = "select sum(h.position)::bigint from heads(array(select shard from shard)) h"


@dataclass(slots=True)
class LivenessProbe:
    """Requests /health/live of processes all the time; keeps the longest response and the number of failures."""

    processes: Sequence[RunningProcess]
    longest_seconds: float = 0.0
    failures: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Probe while the block runs."""
        tasks = [asyncio.create_task(self._probe(process)) for process in self.processes]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, process: RunningProcess) -> None:
        while True:
            started_at = time.monotonic()
            is_live = await asyncio.to_thread(_is_live, process)
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - started_at)
            self.failures += not is_live
            await asyncio.sleep(LIVE_POLL_SECONDS)


@dataclass(slots=True)
class Neighbours:
    """Small courses, one on each shard, with a command of each in turn; due times by shard and command."""

    courses: Sequence[Course]
    sender: OpenLoopSender
    due_times: dict[int, dict[str, float]] = field(default_factory=dict)

    async def send(self, seconds: int) -> None:
        """Send evenly for some seconds."""
        commands = [
            comment_command(course, next(iter(course.stream_numbers)))
            for number in range(seconds * NEIGHBOURS_PER_SECOND)
            for course in [self.courses[number % len(self.courses)]]
        ]
        due_times = await self.sender.send(commands, NEIGHBOURS_PER_SECOND)
        for command in commands:
            of_shard = self.due_times.setdefault(get_course_shard(int(command["course_id"])), {})
            of_shard[command["command_id"]] = due_times[command["command_id"]]

    async def read_waits(self, arrivals: ArrivalProbe) -> dict[bool, list[float]]:
        """Wait for the verdicts; return the seconds from due time to verdict, by whether it is the class's shard."""
        waits: dict[bool, list[float]] = {True: [], False: []}
        for shard, due_times in self.due_times.items():
            arrived = await arrivals.wait_for("verdicts", list(due_times))
            is_same = shard == get_course_shard(CLASS_COURSE)
            waits[is_same] += [at - due for at, due in zip(arrived, due_times.values(), strict=True)]
        self.due_times.clear()
        return waits


async def large_commands(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure 1,000 commands that post or hide a class of 10,000; and 100 where the class also has published grades.

    Without grades each makes 10,000 events; with grades also as many live events and Caliper events.
    """
    students = scale.choose(10_000, 50)
    return [
        *await _measure_class(bench_servers, scale, students, scale.choose(1_000, 6), is_graded=False),
        *await _measure_class(bench_servers, scale, students, scale.choose(100, 4), is_graded=True),
    ]


async def _measure_class(
    bench_servers: BenchServers, scale: Scale, students: int, count: int, is_graded: bool
) -> list[Measurement]:
    url = bench_servers.new_database()
    courses = await create_graded_courses(url, courses_per_shard(1), scale.choose(30, 5))
    (assignment,) = list_assignment_ids(CLASS_COURSE, 1)
    await decide(url, map(build_record, _class_commands(students, assignment, is_graded)), topic="class")
    installation = await bench_servers.new_installation(url)
    await mark_all_relayed(installation)
    with (
        RunningProcess("services.handler", installation.environment) as handler,
        RunningProcess("services.relay", installation.environment) as relay,
    ):
        await handler.wait_until_ready()
        await relay.wait_until_ready()
        toggles = [
            build_command(CLASS_COURSE, ("post_grades", "hide_grades")[number % 2], {}, assignment)
            for number in range(count)
        ]
        title = f"{count:,} × {students:,} {'graded ' if is_graded else ''}students: "
        measurements = await _measure_toggles(
            installation, handler, relay, courses, toggles, title, seconds_before=scale.choose(60, 1)
        )
    # Millions of events.
    bench_servers.drop_database(url)
    return measurements


async def _measure_toggles(
    installation: BenchInstallation,
    handler: RunningProcess,
    relay: RunningProcess,
    courses: Sequence[Course],
    toggles: Sequence[Json],
    title: str,
    seconds_before: int,
) -> list[Measurement]:
    neighbours = Neighbours(courses, OpenLoopSender(installation))
    liveness = LivenessProbe((handler, relay))
    with ArrivalProbe(installation, ("verdicts",)) as arrivals:
        await neighbours.send(seconds_before)
        before = await neighbours.read_waits(arrivals)
        rebalances_before = _read_counter(handler, REBALANCES)
        arrived, ids = arrivals.arrival_times["verdicts"], [command["command_id"] for command in toggles]
        events_before = _count_events(installation.url)
        started_at = time.monotonic()
        installation.send([build_record(command) for command in toggles])
        async with liveness.running():
            while any(command_id not in arrived for command_id in ids):
                LOGGER.info("%s%d verdicts", title, sum(command_id in arrived for command_id in ids))
                if time.monotonic() - started_at > DECIDED_SECONDS_MAX:
                    raise TimeoutError(f"{title}not decided within {DECIDED_SECONDS_MAX} s")
                await neighbours.send(CHUNK_SECONDS)
        events = _count_events(installation.url) - events_before
        seconds = max(arrived[command_id][0] for command_id in ids) - started_at
        during = await neighbours.read_waits(arrivals)
        rebalances = _read_counter(handler, REBALANCES) - rebalances_before
    return [
        measurement(f"{title}until the last verdict", "s", [seconds]),
        measurement(f"{title}events, to their verdicts", "/s", [events / seconds]),
        measurement(f"{title}handler, at most", "MiB", [handler.peak_memory_mib()], MEMORY_TARGET),
        measurement(f"{title}relay, at most", "MiB", [relay.peak_memory_mib()], MEMORY_TARGET),
        measurement(f"{title}rebalances", "", [rebalances], NONE_TARGET),
        measurement(f"{title}failed liveness probes", "", [liveness.failures], NONE_TARGET),
        measurement(f"{title}longest liveness probe", "ms", [liveness.longest_seconds * 1_000]),
        *(
            measurement(f"{title}{where}, {when}, p{share * 100:.0f}", "ms", [percentile(waits[is_same], share) * 1e3])
            for is_same, where in ((False, "other shards"), (True, "same shard"))
            for when, waits in (("before", before), ("during", during))
            for share in PERCENTILES
        ),
    ]


def _class_commands(students: int, assignment: int, is_graded: bool) -> Iterator[Json]:
    return chain(
        roster_commands(CLASS_COURSE, students, [assignment]),
        first_grade_commands(CLASS_COURSE, students, [assignment]) if is_graded else (),
        [build_command(CLASS_COURSE, "publish_provisional_grades", {}, assignment, FINAL_GRADER)],
    )


def _count_events(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(EVENT_COUNT).fetchone()
    assert row is not None
    return int(row[0])


def _is_live(process: RunningProcess) -> bool:
    try:
        with urllib.request.urlopen(f"{process.url}/health/live", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _read_counter(process: RunningProcess, name: str) -> float:
    with urllib.request.urlopen(f"{process.url}/metrics", timeout=10) as response:
        families = {family.name: family for family in text_string_to_metric_families(response.read().decode())}
    return sum(sample.value for sample in families[name].samples if sample.name == f"{name}_total")
