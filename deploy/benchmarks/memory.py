"""Memory of a handler with many cached assignments, and the cold start of an assignment that is not cached."""

import random
import time
from collections.abc import Sequence
from itertools import chain

from deploy.benchmarks.environment import BenchInstallation, BenchServers
from deploy.benchmarks.in_process import OffsetAllocator, create_graded_courses, decide, get_watermarks
from deploy.benchmarks.log_seeder import create_course_template
from deploy.benchmarks.processes import RunningProcess, processor_seconds
from deploy.benchmarks.results import LOGGER, Measurement, Scale, Target, measurement, ratio
from deploy.benchmarks.throughput_probe import count_verdicts, wait_for_verdicts
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    FIRST_STUDENT,
    GRADER,
    SECOND_GRADER,
    Course,
    Json,
    build_command,
    build_record,
    grade_command,
)
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.config.handler import HandlerSettings
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore

EVENTS_PER_STUDENT = 6
SNAPSHOT_EVENTS = HandlerSettings.model_fields["handler_snapshot_events"].default
MEMORY_TARGET, SMALL_CACHE_TARGET = Target(200, at_most=True), Target(150, at_most=True)
SMALL_CACHE_MIB = 48
SMALL_CACHE = f"HANDLER_CACHE_MIB={SMALL_CACHE_MIB}: "


async def memory(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure a handler's memory with many assignments of 300 provisional grades, and what less memory costs.

    The cost is the processor time of commands in assignments at random, which a smaller cache reads again.
    """
    course_template = await create_course_template(bench_servers, scale.choose(300, 20), scale.choose(10, 2))
    url = bench_servers.new_database()
    courses = await course_template.copy_to_log(url, scale.choose(200, 12))
    course_assignments = [(course, assignment) for course in courses for assignment in course.stream_numbers]
    count = scale.choose(1_000, 12)
    random_order = random.Random(1).choices(course_assignments[:count], k=scale.choose(10_000, 200))
    measurements, microseconds = [], dict[str, float]()
    for title, settings, target in (
        ("", {}, MEMORY_TARGET),
        (SMALL_CACHE, {"HANDLER_CACHE_MIB": str(SMALL_CACHE_MIB)}, SMALL_CACHE_TARGET),
    ):
        LOGGER.info("commands in %s assignments, %s", f"{count:,}", title.rstrip(": ") or "the default cache")
        installation = await bench_servers.new_installation(url)
        with RunningProcess("services.handler", installation.environment | settings) as handler:
            await handler.wait_until_ready()
            measurements.append(measurement(f"{title}handler just started", "MiB", [handler.memory_mib()]))
            await _decide_comments(installation, course_assignments[:count])
            case = f"{title}after commands in {count:,} assignments"
            measurements.append(measurement(case, "MiB", [handler.memory_mib()], target))
            seconds_before = processor_seconds(handler.pid)
            await _decide_comments(installation, random_order)
            seconds = processor_seconds(handler.pid) - seconds_before
            microseconds[title] = seconds / len(random_order) * 1e6
            case = f"{title}processor time per command in one of them at random"
            measurements.append(measurement(case, "µs", [microseconds[title]]))
            if not settings:
                await _decide_comments(installation, course_assignments[count:])
                case = f"after commands in {len(course_assignments):,} assignments"
                measurements.append(measurement(case, "MiB", [handler.memory_mib()], Target(400, at_most=True)))
    cost = f"{SMALL_CACHE}processor time per command, to that of the default"
    return [*measurements, ratio(cost, "times", [microseconds[SMALL_CACHE]], [microseconds[""]])]


async def _decide_comments(installation: BenchInstallation, targets: Sequence[tuple[Course, int]]) -> None:
    """Send a comment for each course and assignment, and wait until the running handler has decided them."""
    expected_count = await count_verdicts(installation.url) + len(targets)
    installation.send([build_record(comment_command(*target)) for target in targets])
    await wait_for_verdicts(installation.url, expected_count)


async def cold_start(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure the first command of an assignment with 30,000 events, read both ways, and the next one."""
    students = scale.choose(5_000, 20)
    LOGGER.info("filling a log")
    url = bench_servers.new_database()
    (course,) = await create_graded_courses(url, [1_001], students)
    (assignment,) = course.stream_numbers
    graders = (SECOND_GRADER, GRADER, SECOND_GRADER, GRADER, SECOND_GRADER)[: EVENTS_PER_STUDENT - 1]
    await decide(
        url,
        chain.from_iterable(
            (
                build_record(
                    grade_command(course.course_id, assignment, FIRST_STUDENT + student, (turn + student) % 101, grader)
                )
                for student in range(students)
            )
            for turn, grader in enumerate(graders)
        ),
    )
    times: dict[str, list[float]] = {"from its events": [], "from its snapshot": [], "the next one": []}
    with_snapshots = scale.choose(SNAPSHOT_EVENTS, 50)
    await _time_first_commands(url, course, assignment, with_snapshots, "the snapshot")
    for number in range(scale.choose(7, 1)):
        LOGGER.info("round %d", number + 1)
        for name, snapshot_events in (("from its events", 0), ("from its snapshot", with_snapshots)):
            first, next_ = await _time_first_commands(url, course, assignment, snapshot_events, f"{name} {number}")
            times[name].append(first)
            times["the next one"].append(next_)
    events = students * EVENTS_PER_STUDENT
    first_name = f"first command of an assignment with {events:,} events, read"
    from_events, from_snapshot = times["from its events"], times["from its snapshot"]
    return [
        measurement(f"{first_name} from its events", "ms", from_events),
        measurement(f"{first_name} from its snapshot", "ms", from_snapshot),
        measurement("the next one", "ms", times["the next one"]),
        ratio("from the snapshot, relative to from the events", "times", from_snapshot, from_events),
    ]


async def _time_first_commands(
    url: str, course: Course, assignment: int, snapshot_events: int, topic: str
) -> tuple[float, float]:
    """Return the milliseconds of the first and second command of a new processor."""
    connection = await connect(url, "bench", WRITER)
    log = EventStore(connection)
    processor = CommandProcessor(
        log, await log.current_incarnation(topic), DEFAULT_SHARD_COUNT, snapshot_events=snapshot_events
    )
    offset_allocator = OffsetAllocator()
    times = []
    for _ in range(2):
        started_at = time.perf_counter()
        records = [offset_allocator.to_consumer_record(build_record(comment_command(course, assignment)))]
        await processor.process(records, get_watermarks(records))
        times.append((time.perf_counter() - started_at) * 1_000)
    await connection.close()
    return times[0], times[1]


def comment_command(course: Course, assignment: int) -> Json:
    """Build a comment on the first student's work."""
    data = {"student_id": FIRST_STUDENT, "comment": "See the margin."}
    return build_command(course.course_id, "record_provisional_comment", data, assignment, FINAL_GRADER)
