"""Times of commands that concern a whole class: its publication, the plan of it, and its adjudication.

A publication's time runs from its command until the last grade_change is readable, that of a plan until its verdict,
and that of an adjudication until the last of its domain events. Ratios are taken within a round.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import create_graded_courses, decide
from deploy.benchmarks.latency import run_handler_and_relay
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.results import Measurement, Scale, Target, measurement, ratio
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    FIRST_STUDENT,
    SECOND_GRADER,
    Course,
    Json,
    build_command,
    build_record,
    grade_command,
    publish_command,
)

PUBLISHED_COURSE, ADJUDICATED_COURSE = 1_001, 1_002
MARKS = 101
"""First marks are 0 to 100, and second ones differ: each mean is a new grade, the costliest outcome."""
EVENTS_PER_STUDENT = 3
"""Of such an outcome: adjudicated, recorded, selected."""
PLAN_TARGET, ADJUDICATION_TARGET = Target(0.7, at_most=True), Target(4, at_most=True)
LARGEST_CLASS = 10_000


@dataclass(slots=True)
class Times:
    """Milliseconds by round, for one class size; ``cold_start``: of a publication by a handler that just started."""

    cold_start: float = 0
    publications: list[float] = field(default_factory=list)
    plans: list[float] = field(default_factory=list)
    adjudications: list[float] = field(default_factory=list)

    def measurements(self, students: int) -> list[Measurement]:
        """Return the times, and the ratios to a publication of the same round."""
        plan_target, adjudication_target = (
            (PLAN_TARGET, ADJUDICATION_TARGET) if students == LARGEST_CLASS else (None, None)
        )
        name, unit = f"{students:,} students", "× publication"
        return [
            measurement(name, "ms", self.publications),
            measurement(f"{name}, handler just started", "ms", [self.cold_start]),
            measurement(f"{name}, plan", "ms", self.plans),
            measurement(f"{name}, adjudication", "ms", self.adjudications),
            ratio(f"{name}, plan", unit, self.plans, self.publications, plan_target),
            ratio(f"{name}, adjudication", unit, self.adjudications, self.publications, adjudication_target),
        ]


async def publication(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure classes of three sizes, each in rounds of a plan, its publication, and an adjudication."""
    measurements: list[Measurement] = []
    times_by_size: dict[int, Times] = {}
    for students in (100, 1_000, LARGEST_CLASS) if not scale.short else (20,):
        rounds = scale.choose(5, 1)
        url = bench_servers.new_database()
        published, adjudicated = await create_graded_courses(
            url, [PUBLISHED_COURSE, ADJUDICATED_COURSE], students, assignments_per_course=rounds + 1
        )
        await decide(url, map(build_record, _second_mark_commands(adjudicated)), topic="second-marks")
        async with run_handler_and_relay(bench_servers, url) as installation:
            times_by_size[students] = await _measure_rounds(installation, published, adjudicated)
        measurements += times_by_size[students].measurements(students)
        bench_servers.drop_database(url)
    if not scale.short:
        # Ten times the students in about ten times the time: publishing is linear.
        largest, smaller = times_by_size[LARGEST_CLASS].publications, times_by_size[1_000].publications
        measurements.append(ratio("10,000 students, to 1,000", "times", largest, smaller, Target(15, at_most=True)))
    return measurements


async def _measure_rounds(installation: BenchInstallation, published: Course, adjudicated: Course) -> Times:
    times, students = Times(), published.students
    sender = OpenLoopSender(installation)
    with ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals:
        # A command of another course, so that the measured one is not cached yet.
        other = build_command(ADJUDICATED_COURSE + 1, "upsert_course", {"name": "Other"})
        await _measure(sender, arrivals, other, "verdicts")
        first_assignment, *assignments = published.stream_numbers
        cold = publish_command(PUBLISHED_COURSE, first_assignment)
        times.cold_start = await _measure(sender, arrivals, cold, "live-events", students)
        for assignment, adjudicated_assignment in zip(assignments, list(adjudicated.stream_numbers)[1:], strict=True):
            await _load(sender, arrivals, PUBLISHED_COURSE, assignment)
            plan = build_command(PUBLISHED_COURSE, "plan_publication", {}, assignment, FINAL_GRADER)
            times.plans.append(await _measure(sender, arrivals, plan, "verdicts"))
            publish = publish_command(PUBLISHED_COURSE, assignment)
            times.publications.append(await _measure(sender, arrivals, publish, "live-events", students))
            await _load(sender, arrivals, ADJUDICATED_COURSE, adjudicated_assignment)
            times.adjudications.append(await _measure_adjudication(installation, adjudicated_assignment, students))
    return times


async def _load(sender: OpenLoopSender, arrivals: ArrivalProbe, course: int, assignment: int) -> None:
    """Have the handler load the assignment, by a comment."""
    data = {"student_id": FIRST_STUDENT, "comment": "Ready."}
    comment = build_command(course, "record_provisional_comment", data, assignment, FINAL_GRADER)
    await _measure(sender, arrivals, comment, "verdicts")


async def _measure_adjudication(installation: BenchInstallation, assignment: int, students: int) -> float:
    """Return the milliseconds of an adjudication. Its events are read only here, not beside publications."""
    adjudicate = build_command(ADJUDICATED_COURSE, "adjudicate_provisional_grades", {}, assignment, FINAL_GRADER)
    with ArrivalProbe(installation, ("events",)) as arrivals:
        return await _measure(
            OpenLoopSender(installation), arrivals, adjudicate, "events", students * EVENTS_PER_STUDENT
        )


async def _measure(
    sender: OpenLoopSender, arrivals: ArrivalProbe, command: Json, topic: str, records: int = 1
) -> float:
    """Send a command, and return the milliseconds until its last record on a topic is readable."""
    due_times = await sender.send([command], 1)
    (last_arrival,) = await arrivals.wait_for(topic, [command["command_id"]], records)
    return (last_arrival - due_times[command["command_id"]]) * 1_000


def _second_mark_commands(course: Course) -> Iterator[Json]:
    """Set a policy that takes the mean of any two marks, and mark every student a second time."""
    policy = {"adjudication": {"marks": 2, "result": "mean"}}
    assignments: Sequence[int] = list(course.stream_numbers)
    for assignment in assignments:
        yield build_command(course.course_id, "set_adjudication_policy", policy, assignment, FINAL_GRADER)
        for student in range(course.students):
            score = (student + 1) % MARKS
            yield grade_command(course.course_id, assignment, FIRST_STUDENT + student, score, SECOND_GRADER)
