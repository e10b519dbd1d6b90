"""What customers send: few bytes that make very many events, records that cannot be read, ids that were used before."""

import itertools

from tests.system.faults import log_reader
from tests.system.faults.cells import cell
from tests.system.faults.course_load import FIRST_STUDENT, TEACHER, CourseLoad
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import wait_until

STUDENTS = 2_000
COMMANDS = 40
DECIDED_SECONDS_MAX = 240
UNREADABLE = 1_000
REUSED = 20
NUMBERS = itertools.count(500)

EVENTS_OF = "select e.* from event e join stream s on s.number = e.stream where s.course = {course} order by e.version"


@cell()
def send_large_commands(run: FaultRun) -> None:
    """One course posts and hides the grades of a class of 2,000 forty times at once: 8 kB make 80,000 events."""
    course = CourseLoad(next(NUMBERS), run.chance, run.installation.verdicts)
    students = range(course.base + FIRST_STUDENT, course.base + FIRST_STUDENT + STUDENTS)
    rows = [{"user_id": str(n), "type": "StudentEnrollment", "state": "active"} for n in students]
    teacher = {"user_id": str(course.base + TEACHER), "type": "TeacherEnrollment", "state": "active"}
    assignment = course.base + 10_001
    facts = [
        course.command("upsert_course", {"name": "Large"}),
        course.command("upsert_enrollments", {"enrollments": [teacher, *rows]}),
        course.configure(assignment),
    ]
    graded = [
        course.command("record_submission", {"student_id": str(n), "score": 7, "grade": "7"}, assignment)
        for n in students[:20]
    ]
    publish = course.command("publish_provisional_grades", {}, assignment, TEACHER)
    large = [course.command(("hide_grades", "post_grades")[n % 2], {}, assignment) for n in range(COMMANDS)]
    run.injected("class posted and hidden forty times")
    for command in (*facts, *graded, publish, *large):
        run.load.send(command)
    ids = [command["command_id"] for command in large]
    wait_until(
        lambda: all(n in run.installation.verdicts for n in ids), "all large commands are decided", DECIDED_SECONDS_MAX
    )
    run.recovered()


@cell()
def send_unreadable_in_a_row(run: FaultRun) -> None:
    """1,000 unreadable records in a row, in one partition: each is a dead letter, and the next command is decided."""
    course = CourseLoad(next(NUMBERS), run.chance, run.installation.verdicts)
    before = log_reader.count_rows(run.installation.database_url)["dead-letters"]
    run.injected("1,000 unreadable records in a row")
    for number in range(UNREADABLE):
        run.load.send({"course_id": str(course.course)}, b'{"command_id": "unreadable %d' % number)
    following = course.command("upsert_course", {"name": "After"})
    run.load.send(following)
    wait_until(lambda: following["command_id"] in run.installation.verdicts, "the command after them is decided")
    dead_letters = log_reader.count_rows(run.installation.database_url)["dead-letters"] - before
    if dead_letters < UNREADABLE:
        run.fail(f"{dead_letters} dead letters of {UNREADABLE} unreadable records")
    run.recovered()


@cell()
def reuse_command_ids(run: FaultRun) -> None:
    """Command ids that were decided come again with other content: refused, and the log keeps the first content."""
    course = CourseLoad(next(NUMBERS), run.chance, run.installation.verdicts)
    verdicts = run.installation.verdicts
    first = [course.command("upsert_course", {"name": f"First {number}"}) for number in range(REUSED)]
    for command in first:
        run.load.send(command)
    ids = [command["command_id"] for command in first]
    wait_until(lambda: verdicts.keys() >= set(ids), "the first are decided")
    events = log_reader.fetch(run.installation.database_url, EVENTS_OF.format(course=course.course))
    run.injected("command ids used again", REUSED)
    for command in first:
        run.load.send({**command, "data": {"name": "Other content"}})
    wait_until(lambda: {verdicts[n]["reason"] for n in ids} == {"command_id_reused"}, "each is refused as reused")
    if log_reader.fetch(run.installation.database_url, EVENTS_OF.format(course=course.course)) != events:
        run.fail("a command whose id was used before has changed the log")
    for command in first:
        run.load.send(command)
    wait_until(lambda: all(verdicts[n]["duplicate"] for n in ids), "the first content is still known")
    run.recovered()
