"""What one customer may legally send: few bytes that make very many events."""

import itertools

from tests.system.faults.cells import cell
from tests.system.faults.course_load import FIRST_STUDENT, TEACHER, CourseLoad
from tests.system.faults.fault_run import FaultRun
from tests.system.faults.installation import wait_until

STUDENTS = 2_000
COMMANDS = 40
DECIDED_SECONDS_MAX = 240
NUMBERS = itertools.count(500)


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
