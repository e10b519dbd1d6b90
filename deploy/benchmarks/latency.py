"""How long a command takes to its verdict and to its live event, and a publication to its last one.

Open loop: commands are sent when they are due whatever became of the earlier ones, and time runs from when they were
due. So a stall counts for every command that fell into it.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence

from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import courses_per_shard, create_graded_courses, decide
from deploy.benchmarks.open_loop_sender import OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import Measurement, Scale, Target, measurement, percentile
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    FIRST_STUDENT,
    Course,
    Json,
    build_command,
    build_record,
    mixed_command,
)
from schemas.topics import OUTPUT_TOPICS
from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.postgres import READER, connect
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import write_progress

PERCENTILES = (0.5, 0.99)
# One command in so many makes a live event: a published grade is posted, or hidden again.
LIVE_EVENT_EVERY = 4
TARGETS = {
    (500, "verdicts"): Target(100, at_most=True),
    (500, "live-events"): Target(150, at_most=True),
    (2_000, "verdicts"): Target(150, at_most=True),
}


@contextlib.asynccontextmanager
async def run_handler_and_relay(
    bench_servers: BenchServers, url: str, **settings: str
) -> AsyncIterator[BenchInstallation]:
    """A handler and a relay on new topics; the relay goes on from where the log stands."""
    installation = await bench_servers.new_installation(url)
    await mark_all_relayed(installation)
    environment = {**installation.environment, **settings}
    with (
        RunningProcess("services.handler", environment) as handler,
        RunningProcess("services.relay", environment) as relay,
    ):
        await handler.wait_until_ready()
        await relay.wait_until_ready()
        yield installation


async def mark_all_relayed(installation: BenchInstallation) -> RelayProgress:
    """Take what is in the log for relayed, and return how far that is."""
    connection = await connect(installation.url, "bench", READER)
    try:
        heads = await FeedReader(connection).heads(ALL_SHARDS)
    finally:
        await connection.close()
    sequences = {output: tuple(heads[FEED_BY_TOPIC[output]]) for output in OUTPUT_TOPICS}
    # Topics that are being filled again are not held against the progress: these are empty.
    replays = {output: tuple(number + 1 for number in numbers) for output, numbers in sequences.items()}
    progress = RelayProgress(sequences, replays)
    await write_progress(installation.bootstrap, installation.prefix, progress)
    return progress


async def latency(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Command to verdict and to live event, at 10 to 2,000 commands a second."""
    url = bench_servers.new_database()
    courses = await create_graded_courses(
        url, courses_per_shard(scale.choose(2, 1)), scale.choose(50, 10), assignments_per_course=2
    )
    await decide(
        url, [build_record(_publish_command(course.course_id, _published_assignment(course))) for course in courses]
    )
    rates = (10, 100, 500, 2_000) if not scale.short else (100,)
    measurements: list[Measurement] = []
    async with run_handler_and_relay(bench_servers, url) as installation:
        sender = OpenLoopSender(installation)
        with ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals:
            await _send_and_measure(sender, arrivals, [_command(courses, -1 - n) for n in range(200)], 200)
            first_number = 0
            for per_second in rates:
                waits_by_topic: dict[str, list[list[float]]] = {"verdicts": [], "live-events": []}
                for _ in range(scale.choose(3, 1)):
                    count = max(per_second * scale.choose(10, 1), scale.choose(200, 1))
                    commands = [_command(courses, first_number + n) for n in range(count)]
                    first_number += count
                    for name, waits in (await _send_and_measure(sender, arrivals, commands, per_second)).items():
                        waits_by_topic[name].append(waits)
                measurements += _measurements(per_second, waits_by_topic)
    return measurements


def _measurements(per_second: int, waits_by_topic: dict[str, list[list[float]]]) -> list[Measurement]:
    return [
        measurement(
            f"{per_second:,}/s: command to {name.rstrip('s').replace('-', ' ')}, p{share * 100:.0f}",
            "ms",
            [percentile(waits, share) * 1_000 for waits in rounds],
            TARGETS.get((per_second, name)) if share == PERCENTILES[-1] else None,
        )
        for name, rounds in waits_by_topic.items()
        for share in PERCENTILES
    ]


async def _send_and_measure(
    sender: OpenLoopSender, arrivals: ArrivalProbe, commands: Sequence[Json], per_second: float
) -> dict[str, list[float]]:
    due_times = await sender.send(commands, per_second)
    live_event_ids = [
        command["command_id"] for command in commands if command["type"] in ("post_grades", "hide_grades")
    ]
    return {
        name: [
            arrived_at - due_times[command_id]
            for command_id, arrived_at in zip(ids, await arrivals.wait_for(name, ids), strict=True)
        ]
        for name, ids in (("verdicts", list(due_times)), ("live-events", live_event_ids))
    }


def _published_assignment(course: Course) -> int:
    """The second assignment of a course."""
    return course.course_id * 100 + 1


def _publish_command(course: int, assignment: int) -> Json:
    return build_command(course, "publish_provisional_grades", {}, assignment, FINAL_GRADER)


def _command(courses: Sequence[Course], number: int) -> Json:
    """Mixed, and every fourth a grade posted or hidden again: each student's in turn."""
    turn, remainder = divmod(number, LIVE_EVENT_EVERY)
    if remainder or number < 0:
        first_assignment_courses = [
            Course(c.course_id, c.students, dict(list(c.stream_numbers.items())[:1])) for c in courses
        ]
        return mixed_command(first_assignment_courses, abs(number))
    round_, course_index = divmod(turn, len(courses))
    course = courses[course_index]
    times, student = divmod(round_, course.students)
    kind = "hide_grades" if times % 2 else "post_grades"
    data = {"student_ids": [FIRST_STUDENT + student]}
    return build_command(course.course_id, kind, data, _published_assignment(course))


async def publication(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """From the command that publishes to when its last grade_change can be read."""
    measurements = []
    targets = {10_000: Target(1_500, at_most=True)}
    for students in (100, 1_000, 10_000) if not scale.short else (20,):
        rounds = scale.choose(5, 1)
        url = bench_servers.new_database()
        (course,) = await create_graded_courses(url, [1_001], students, assignments_per_course=rounds + 1)
        first_assignment, *other_assignments = course.stream_numbers
        async with run_handler_and_relay(bench_servers, url) as installation:
            sender = OpenLoopSender(installation)
            with ArrivalProbe(installation, ("verdicts", "live-events")) as arrivals:
                # Of another course: nothing of the one that is measured is in the handler's memory yet.
                await _send_and_measure(
                    sender, arrivals, [build_command(course.course_id + 1, "upsert_course", {"name": "Other"})], 1
                )
                cold_start_ms = await _measure_publication(sender, arrivals, course, first_assignment)
                values = []
                for assignment in other_assignments:
                    data = {"student_id": FIRST_STUDENT, "comment": "Ready."}
                    comment = build_command(
                        course.course_id, "record_provisional_comment", data, assignment, FINAL_GRADER
                    )
                    await _send_and_measure(sender, arrivals, [comment], 1)
                    values.append(await _measure_publication(sender, arrivals, course, assignment))
        measurements += [
            measurement(f"{students:,} students", "ms", values, targets.get(students)),
            measurement(f"{students:,} students, by a handler that just started", "ms", [cold_start_ms]),
        ]
        bench_servers.drop_database(url)
    return measurements


async def _measure_publication(
    sender: OpenLoopSender, arrivals: ArrivalProbe, course: Course, assignment: int
) -> float:
    publish_command = _publish_command(course.course_id, assignment)
    due_times = await sender.send([publish_command], 1)
    (last_arrival,) = await arrivals.wait_for("live-events", [publish_command["command_id"]], course.students)
    return (last_arrival - due_times[publish_command["command_id"]]) * 1_000
