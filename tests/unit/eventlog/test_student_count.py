"""The moderators' list counts the students of large courses without holding up other pages."""

import asyncio
import time

from services.eventlog.moderated_assignments import count_students
from services.moderation.assignment import Assignment
from services.moderation.course import Course, Enrollment

STUDENT_COUNT = 50_000
MODERATOR = 1


async def test_students_of_a_large_course_are_counted_while_other_pages_are_served() -> None:
    course, assignment = Course(1, 1), Assignment(1, b"", 1, 1, 1)
    for student in range(2, 2 + STUDENT_COUNT):
        enrollment = Enrollment(student, "StudentEnrollment", None)
        course.enrollments[student] = {(enrollment.type, None): enrollment}
        course.student_ordinals[student] = student
    pauses: list[float] = []
    durations: list[float] = []

    async def count_for_each_row() -> None:
        for _ in range(3):
            started = time.perf_counter()
            assert await count_students(course, assignment, MODERATOR) == STUDENT_COUNT
            durations.append(time.perf_counter() - started)

    counting = asyncio.create_task(count_for_each_row())
    while not counting.done():
        started = time.perf_counter()
        await asyncio.sleep(0)
        pauses.append(time.perf_counter() - started)
    await counting
    assert max(pauses) < sum(durations) / 2
