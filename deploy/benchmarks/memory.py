"""What a handler holds: its memory with many assignments at hand, and how long one takes that is not."""

import time
from itertools import chain

from deploy.benchmarks.environment import Site
from deploy.benchmarks.in_process import Offsets, decide, set_up
from deploy.benchmarks.log_seeder import original
from deploy.benchmarks.processes import Running
from deploy.benchmarks.results import Figure, Scale, Target, figure
from deploy.benchmarks.throughput_probe import reached, verdicts
from deploy.benchmarks.workload import (
    FINAL_GRADER,
    FIRST_STUDENT,
    GRADER,
    SECOND_GRADER,
    Course,
    Record,
    command,
    grade,
)
from deploy.benchmarks.workload import record as made
from services.commands.processor import Deciding
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import Log

EVENTS_A_STUDENT = 6


async def memory(site: Site, scale: Scale) -> list[Figure]:
    """A handler's memory when it has decided a command in each of so many assignments of 300 provisional grades."""
    figures = []
    course = await original(site, scale.of(300, 20), scale.of(10, 2))
    url = site.database()
    courses = await course.copied(url, scale.of(200, 12))
    marked = [(each, assignment) for each in courses for assignment in each.numbers]
    installation = await site.installation(url)
    before, decided = await verdicts(url), 0
    with Running("services.handler", installation.environment) as handler:
        await handler.ready()
        figures.append(figure("a handler that just started", "MiB", [handler.memory_mib()]))
        for hot in (scale.of(1_000, 12), len(marked)):
            installation.send([_remark(*each) for each in marked[decided:hot]])
            await reached(url, before + hot)
            decided = hot
            case = f"after commands in {hot:,} assignments"
            figures.append(figure(case, "MiB", [handler.memory_mib()], Target(400, at_most=True)))
    return figures


async def cold_start(site: Site, scale: Scale) -> list[Figure]:
    """The first command of an assignment with 30,000 events, by a handler that holds nothing, and the next one."""
    students = scale.of(5_000, 20)
    url = site.database()
    (course,) = await set_up(url, [1_001], students)
    (assignment,) = course.numbers
    graders = (SECOND_GRADER, GRADER, SECOND_GRADER, GRADER, SECOND_GRADER)[: EVENTS_A_STUDENT - 1]
    await decide(
        url,
        chain.from_iterable(
            (
                made(grade(course.course_id, assignment, FIRST_STUDENT + student, (turn + student) % 101, grader))
                for student in range(students)
            )
            for turn, grader in enumerate(graders)
        ),
    )
    first: list[float] = []
    next_: list[float] = []
    for number in range(scale.of(7, 1)):
        connection = await connect(url, "bench", WRITER)
        log = Log(connection)
        deciding, offsets = Deciding(log, await log.current_source(f"round {number}")), Offsets()
        for values in (first, next_):
            begun = time.perf_counter()
            await deciding.settle([offsets.consumed(_remark(course, assignment))])
            values.append((time.perf_counter() - begun) * 1_000)
        await connection.close()
    events = students * EVENTS_A_STUDENT
    return [
        figure(f"first command of an assignment with {events:,} events", "ms", first, Target(250, at_most=True)),
        figure("the next one", "ms", next_),
    ]


def _remark(course: Course, assignment: int) -> Record:
    data = {"student_id": FIRST_STUDENT, "comment": "See the margin."}
    return made(command(course.course_id, "record_provisional_comment", data, assignment, FINAL_GRADER))
