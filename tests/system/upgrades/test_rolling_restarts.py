"""Every process is restarted under load: each command has one verdict, each scheduled publication happens once."""

import random
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from tests.system.faults import log_reader
from tests.system.faults.installation import Installation, wait_until
from tests.system.faults.load import FIRST_STUDENT, TEACHER, CourseLoad
from tests.system.upgrades.conftest import Start
from tests.system.upgrades.loaded_installation import LoadedInstallation

SCHEDULES = 12
FIRST_SECONDS = 15
SCHEDULED_COURSE = 700
EVERY_SECONDS = 3
PUBLICATIONS = """
select s.assignment, count(*) from event e join stream s on s.number = e.stream
where e.type = 'grades_posted' and s.course = {course} group by 1
"""


def schedule_publications(loaded: LoadedInstallation, course: CourseLoad) -> set[int]:
    """Schedule publications of a course's assignments, one every few seconds from now on; return the assignments.

    A busy machine may decide the first ones too late: those are refused, and left out.
    """
    commands, schedules = course.facts(), dict[int, str]()
    for number in range(1, SCHEDULES + 1):
        assignment = course.base + number
        due = datetime.now(UTC) + timedelta(seconds=FIRST_SECONDS + EVERY_SECONDS * number)
        publish_at = {"publish_at": due.isoformat(timespec="milliseconds")}
        schedule = course.command("schedule_publication", publish_at, assignment, TEACHER)
        schedules[assignment] = schedule["command_id"]
        commands += [course.configure(assignment), course.grade(assignment, FIRST_STUDENT), schedule]
    for command in commands:
        loaded.load.send(command)
    verdicts = loaded.installation.verdicts
    wait_until(lambda: verdicts.keys() >= set(schedules.values()), "all schedules are decided")
    return {assignment for assignment, sent in schedules.items() if verdicts[sent]["status"] == "accepted"}


def count_publications(installation: Installation, course: CourseLoad) -> dict[int, int]:
    """Return how often each assignment of a course was published."""
    return dict(log_reader.fetch(installation.database_url, PUBLICATIONS.format(course=course.course)))


def test_every_process_is_restarted_under_load_without_a_lost_or_doubled_verdict(start_under_load: Start) -> None:
    loaded = start_under_load(handler=2, relay=2, gateway=1, scheduler=1, console=1)
    course = CourseLoad(SCHEDULED_COURSE, random.Random(1), loaded.installation.verdicts)
    scheduled = schedule_publications(loaded, course)
    assert len(scheduled) >= SCHEDULES // 2

    by_kind = [loaded.installation.of(name) for name in ("scheduler", "handler", "relay", "gateway", "console")]
    for one_of_each_kind in zip_longest(*by_kind):
        loaded.restart(*filter(None, one_of_each_kind))
        loaded.load.probe()

    wait_until(lambda: count_publications(loaded.installation, course).keys() >= scheduled, "all are published")
    loaded.assert_faultless()
    assert count_publications(loaded.installation, course) == dict.fromkeys(scheduled, 1)
