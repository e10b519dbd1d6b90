"""The moderators' list counts the students of large courses without holding up other pages."""

import threading

import pytest

from services.eventlog import moderated_assignments
from services.moderation.assignment import Assignment
from services.moderation.course import Course, Enrollment

STUDENT_COUNT = 50
MODERATOR = 1


async def test_students_of_a_large_course_are_counted_while_other_pages_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In another thread than that of the event loop, which serves the pages."""
    course, assignment = Course(1, 1), Assignment(1, b"", 1, 1, 1)
    for student in range(2, 2 + STUDENT_COUNT):
        enrollment = Enrollment(student, "StudentEnrollment", None)
        course.enrollments[student] = {(enrollment.type, None): enrollment}
        course.student_ordinals[student] = student
    threads = []

    def may_moderate_in_this_thread(*_: object) -> bool:
        threads.append(threading.get_ident())
        return False

    monkeypatch.setattr(moderated_assignments, "may_moderate", may_moderate_in_this_thread)

    assert await moderated_assignments.count_students(course, assignment, MODERATOR) == STUDENT_COUNT
    (thread,) = threads
    assert thread != threading.get_ident()
