"""Lateness of scheduled publications: from the set time until the verdict, and until the last grade, is readable.

Schedules are compared with PostgreSQL's clock, so lateness is measured by that clock too.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses
from deploy.benchmarks.latency import run_handler_and_relay
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import LOGGER, Measurement, Scale, Target, measurement, percentile
from deploy.benchmarks.workload import FINAL_GRADER, Course, Json, build_command
from services.eventlog.postgres import READER, connect
from services.eventlog.schedules import read_schedules

AT_REST, AT_ONCE = "10 a second", "all at one time"
SECONDS_APART = {AT_REST: 0.1, AT_ONCE: 0.0}
# Until the first is due: all schedules are decided by then.
LEAD_SECONDS = 5.0
SCHEDULES_PER_SECOND = 200
P99_TARGET = Target(1_000, at_most=True)


@dataclass(slots=True)
class Lateness:
    """Milliseconds of each publication, by round."""

    verdicts: list[list[float]] = field(default_factory=list)
    last_grades: list[list[float]] = field(default_factory=list)

    def measurements(self, case: str) -> list[Measurement]:
        """Return the percentiles of each round. The earliest verdict shows that none is early."""
        target = P99_TARGET if case == AT_REST else None
        name = f"{len(self.verdicts[0])} publications, {case}"
        return [
            measurement(f"{name}: verdict, earliest", "ms", map(min, self.verdicts)),
            measurement(f"{name}: verdict, p50", "ms", [percentile(each, 0.5) for each in self.verdicts]),
            measurement(f"{name}: verdict, p99", "ms", [percentile(each, 0.99) for each in self.verdicts], target),
            measurement(f"{name}: last grade, p99", "ms", [percentile(each, 0.99) for each in self.last_grades]),
        ]


async def lateness(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure rounds of publications that are due one after the other, and at the same time, with nothing else."""
    url = bench_servers.new_database()
    rounds, per_course = scale.choose(3, 1), scale.choose(5, 1)
    courses = await create_graded_courses(
        url,
        courses_per_shard(scale.choose(2, 1)),
        scale.choose(30, 3),
        assignments_per_course=rounds * per_course * len(SECONDS_APART),
    )
    assignments = _list_assignments(courses)
    lateness_by_case = {case: Lateness() for case in SECONDS_APART}
    async with run_handler_and_relay(bench_servers, url) as installation:
        with (
            RunningProcess("services.scheduler", installation.environment_of("scheduler")) as scheduler,
            ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals,
        ):
            await scheduler.wait_until_ready()
            for number, case in itertools.product(range(rounds), SECONDS_APART):
                LOGGER.info("%s, round %d", case, number + 1)
                chosen = list(itertools.islice(assignments, per_course * len(courses)))
                verdicts, last_grades = await _measure(
                    installation, arrivals, chosen, SECONDS_APART[case], courses[0].students
                )
                lateness_by_case[case].verdicts.append(verdicts)
                lateness_by_case[case].last_grades.append(last_grades)
    return [each for case, measured in lateness_by_case.items() for each in measured.measurements(case)]


def _list_assignments(courses: Sequence[Course]) -> Iterator[tuple[int, int]]:
    """Yield each course's next assignment in turn, so that consecutive publications are of different shards."""
    for assignments in zip(*(course.stream_numbers for course in courses), strict=True):
        for course, assignment in zip(courses, assignments, strict=True):
            yield course.course_id, assignment


async def _measure(
    installation: BenchInstallation,
    arrivals: ArrivalProbe,
    assignments: Sequence[tuple[int, int]],
    seconds_apart: float,
    students: int,
) -> tuple[list[float], list[float]]:
    """Schedule publications, and return the lateness of their verdicts and last grades, in ms.

    Raises RuntimeError if the machine is so slow that a schedule is decided after its time.
    """
    connection = await connect(installation.url, "bench", READER)
    try:
        now = await connection.fetchval("select extract(epoch from clock_timestamp())::float8")
        ahead = now - time.monotonic()
        schedules = [
            _schedule_command(course, assignment, now + LEAD_SECONDS + number * seconds_apart)
            for number, (course, assignment) in enumerate(assignments)
        ]
        await OpenLoopSender(installation).send(schedules, SCHEDULES_PER_SECOND)
        await arrivals.wait_for("verdicts", [command["command_id"] for command in schedules])
        in_force = [
            each async for page in read_schedules(connection, LEAD_SECONDS, 2 * LEAD_SECONDS + 3_600) for each in page
        ]
    finally:
        await connection.close()
    due_times = {each.command_id: each.publish_at.timestamp() - ahead for each in in_force}
    if len(due_times) != len(assignments):
        raise RuntimeError(f"{len(due_times)} of {len(assignments)} schedules are in force: the others were too late")

    async def read_lateness(topic: str, records: int) -> list[float]:
        arrived = await arrivals.wait_for(topic, list(due_times), records)
        return [(at - due) * 1_000 for at, due in zip(arrived, due_times.values(), strict=True)]

    return await read_lateness("verdicts", 1), await read_lateness("live-events", students)


def _schedule_command(course: int, assignment: int, due: float) -> Json:
    publish_at = datetime.fromtimestamp(due, UTC).isoformat(timespec="milliseconds")
    return build_command(course, "schedule_publication", {"publish_at": publish_at}, assignment, FINAL_GRADER)
