"""Publications of one course that are scheduled for some seconds ahead, one after the other."""

from datetime import UTC, datetime, timedelta

from tests.system.faults import log_reader
from tests.system.faults.course_load import FIRST_STUDENT, CourseLoad
from tests.system.faults.installation import Installation, wait_until
from tests.system.faults.load import Load

PUBLICATIONS = """
select s.assignment, count(*) from event e join stream s on s.number = e.stream
where e.type = 'grades_posted' and s.course = {course} group by 1
"""


def schedule_publications(
    load: Load, course: CourseLoad, count: int, first_seconds: float, every_seconds: float
) -> dict[int, datetime]:
    """Schedule publications of new assignments of a course; return their times by assignment.

    A busy machine may decide the first ones too late: those are refused, and left out. Raises TimeoutError.
    """
    commands, schedules, times = course.facts(), dict[int, str](), dict[int, datetime]()
    for number in range(count):
        assignment = course.base + 1 + len(course.assignments)
        times[assignment] = datetime.now(UTC) + timedelta(seconds=first_seconds + every_seconds * number)
        graded = [course.configure(assignment), course.grade(assignment, FIRST_STUDENT)]
        schedule = course.schedule(assignment, times[assignment])
        schedules[assignment] = schedule["command_id"]
        commands += [*graded, schedule]
    for command in commands:
        load.send(command)
    verdicts = load.installation.verdicts
    wait_until(lambda: verdicts.keys() >= set(schedules.values()), "all schedules are decided")
    accepted = {assignment for assignment, sent in schedules.items() if verdicts[sent]["status"] == "accepted"}
    return {assignment: times[assignment] for assignment in accepted}


def count_publications(installation: Installation, course: CourseLoad) -> dict[int, int]:
    """Return how often each assignment of a course was published."""
    return dict(log_reader.fetch(installation.database_url, PUBLICATIONS.format(course=course.course)))
