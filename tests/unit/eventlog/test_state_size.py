"""The memory that a state is estimated at is what it takes, or up to twice as much."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from services.eventlog.state_size import STREAM_BYTES, estimate_assignment_bytes, estimate_course_bytes
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.event_payloads import from_payload
from services.moderation.events import AssignmentEvent, CourseEvent
from services.moderation.evolve import evolve_assignment
from services.moderation.evolve_course import evolve_course
from tests.fixtures.in_memory_course import START

ROWS = 500
FIRST_ID = 1_000_000
# Here all times, numbers and texts are shared with another state, which few are in a handler.
SHARE_MAX = 2
State = Course | Assignment


def build_time(number: int) -> str:
    return f"2026-01-31T12:{number // 60 % 60:02d}:{number % 60:02d}.000Z"


def apply(state: State, name: str, payload: dict[str, Any], number: int) -> None:
    event = from_payload(name, payload, student_id=FIRST_ID + number, submission_id=number)
    if isinstance(state, Course):
        assert isinstance(event, CourseEvent)
        evolve_course(state, event, position=number, at=START)
    else:
        assert isinstance(event, AssignmentEvent)
        evolve_assignment(state, event, position=number, at=START)


def enroll(state: State, number: int) -> None:
    row: dict[str, Any] = {
        "user_id": f"{FIRST_ID + number}", "type": "StudentEnrollment", "section_id": None, "state": "active",
        "limited_to_section": False, "permissions": {},
    }  # fmt: skip
    apply(state, "enrollments_updated", {"enrollments": [row]}, number)


def name_user(state: State, number: int) -> None:
    row: dict[str, Any] = {
        "user_id": f"{FIRST_ID + number}", "name": f"Student {number}", "sortable_name": f"{number}, Student",
        "short_name": f"Stud {number}", "sis_user_id": f"SIS-{number}", "login_id": f"s{number}@example.org",
        "created_at": None,
    }  # fmt: skip
    apply(state, "users_updated", {"users": [row]}, number)


def submit(state: State, number: int) -> None:
    payload = {
        "attempt": 1, "submitted_at": build_time(number), "score": number % 50 + 0.5, "grade": f"{number % 50}.5",
        "grader_id": "21", "graded_at": build_time(number + 7), "submission_id": f"{5 * FIRST_ID + number}",
    }  # fmt: skip
    apply(state, "submission_recorded", payload, number)


def grade(state: State, number: int) -> None:
    payload = {
        "id": f"{FIRST_ID + number}", "score": number % 50, "grade": f"{number % 50}", "graded_at": build_time(number),
        "final": False, "graded_anonymously": None, "scorer_id": "21",
    }  # fmt: skip
    apply(state, "provisional_grade_created", payload, number)
    comment = {
        "id": f"{number + 1}", "comment": f"Well said, but see the margin. {number}", "author_id": "21",
        "provisional_grade_id": f"{FIRST_ID + number}",
    }  # fmt: skip
    apply(state, "provisional_comment_created", comment, number)


def build_state(fill: Callable[[State, int], None]) -> State:
    state: State = Course(1, 2) if fill in (enroll, name_user) else Assignment(1, b"secret", 1, 2, 3)
    for number in range(ROWS):
        fill(state, number)
    return state


@pytest.mark.parametrize("fill", [enroll, name_user, submit, grade])
def test_estimate_is_what_a_state_takes_or_up_to_twice_as_much(fill: Callable[[State, int], None]) -> None:
    # Caches of times and numbers are not the state's.
    build_state(fill)
    gc.collect()
    tracemalloc.start()
    try:
        state = build_state(fill)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    estimate = estimate_course_bytes(state) if isinstance(state, Course) else estimate_assignment_bytes(state)

    assert 1 <= (estimate - STREAM_BYTES) / taken <= SHARE_MAX
