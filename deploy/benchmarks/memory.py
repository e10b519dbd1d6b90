"""Memory of a handler with many cached assignments, and the cold start of an assignment that is not cached."""

import time
from itertools import chain

from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import OffsetAllocator, create_graded_courses, decide, get_watermarks
from deploy.benchmarks.log_seeder import create_course_template
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.results import Measurement, Scale, Target, measurement
from deploy.benchmarks.throughput_probe import count_verdicts, wait_for_verdicts
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    FIRST_STUDENT,
    GRADER,
    SECOND_GRADER,
    Course,
    ProducerRecord,
    build_command,
    build_record,
    grade_command,
)
from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore

EVENTS_PER_STUDENT = 6


async def memory(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure a handler's memory after a command in each of many assignments of 300 provisional grades."""
    measurements = []
    course_template = await create_course_template(bench_servers, scale.choose(300, 20), scale.choose(10, 2))
    url = bench_servers.new_database()
    courses = await course_template.copy_to_log(url, scale.choose(200, 12))
    course_assignments = [(course, assignment) for course in courses for assignment in course.stream_numbers]
    installation = await bench_servers.new_installation(url)
    verdicts_before, processed_count = await count_verdicts(url), 0
    with RunningProcess("services.handler", installation.environment) as handler:
        await handler.wait_until_ready()
        measurements.append(measurement("handler just started", "MiB", [handler.memory_mib()]))
        for cached_count in (scale.choose(1_000, 12), len(course_assignments)):
            installation.send([_comment_record(*course) for course in course_assignments[processed_count:cached_count]])
            await wait_for_verdicts(url, verdicts_before + cached_count)
            processed_count = cached_count
            case = f"after commands in {cached_count:,} assignments"
            measurements.append(measurement(case, "MiB", [handler.memory_mib()], Target(400, at_most=True)))
    return measurements


async def cold_start(bench_servers: BenchServers, scale: Scale) -> list[Measurement]:
    """Measure the first command of an assignment with 30,000 events that is not cached, and the next one."""
    students = scale.choose(5_000, 20)
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
    first: list[float] = []
    next_: list[float] = []
    for number in range(scale.choose(7, 1)):
        connection = await connect(url, "bench", WRITER)
        log = EventStore(connection)
        processor, offset_allocator = (
            CommandProcessor(log, await log.current_incarnation(f"round {number}"), DEFAULT_SHARD_COUNT),
            OffsetAllocator(),
        )
        for values in (first, next_):
            started_at = time.perf_counter()
            records = [offset_allocator.to_consumer_record(_comment_record(course, assignment))]
            await processor.process(records, get_watermarks(records))
            values.append((time.perf_counter() - started_at) * 1_000)
        await connection.close()
    events = students * EVENTS_PER_STUDENT
    return [
        measurement(f"first command of an assignment with {events:,} events", "ms", first),
        measurement("the next one", "ms", next_),
    ]


def _comment_record(course: Course, assignment: int) -> ProducerRecord:
    data = {"student_id": FIRST_STUDENT, "comment": "See the margin."}
    return build_record(build_command(course.course_id, "record_provisional_comment", data, assignment, FINAL_GRADER))
