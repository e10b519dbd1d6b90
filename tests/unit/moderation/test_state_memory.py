"""What an assignment's state takes in memory, counted in bytes: a handler holds hundreds of thousands of grades."""

import gc
import tracemalloc
from dataclasses import fields

import pytest

from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.events import AssignmentEvent
from services.moderation.evolve import evolve_assignment
from services.moderation.submission import UNSUBMITTED, Submission, TouchedSubmission
from tests.fixtures.in_memory_course import ANN, ESSAY, START, TA1, InMemoryCourse, moderated_course

STUDENTS = 300
BYTES_MAX = 450


def build_class() -> InMemoryCourse:
    memory = moderated_course()
    for student in range(1_000, 1_000 + STUDENTS):
        memory.enroll(student, "Student")
        memory.grade(TA1, student, student % 11)
    return memory


def measure_bytes(memory: InMemoryCourse) -> int:
    """Bytes of the assignment's state, folded from its events."""
    events = [
        (position, event, at)
        for position, (_, event, at) in enumerate(memory.log, 1)
        if isinstance(event, AssignmentEvent)
    ]
    gc.collect()
    tracemalloc.start()
    try:
        assignment = Assignment(1, b"secret", 1, 1001, ESSAY)
        for position, event, at in events:
            evolve_assignment(assignment, event, position=position, at=at)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_student_with_one_provisional_grade_takes_few_bytes() -> None:
    assert measure_bytes(build_class()) / STUDENTS < BYTES_MAX


def test_submission_that_was_only_touched_reads_like_an_untouched_one() -> None:
    touched = TouchedSubmission(START, 3)
    for name in {field.name for field in fields(Submission)} - {"updated_at", "revision"}:
        assert getattr(touched, name) == getattr(UNSUBMITTED, name), name
    for name, member in vars(Submission).items():
        if isinstance(member, property):
            assert getattr(touched, name) == getattr(UNSUBMITTED, name), name
    assert not touched.was_graded_at(1)  # type: ignore[attr-defined]  # As of a Submission.
    with pytest.raises(AttributeError):
        touched.score = 1  # type: ignore[attr-defined]


def test_submission_keeps_its_revision_when_the_lms_states_something_about_it() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    before = memory.assignments[ESSAY].submission(ANN)
    revision = before.revision
    assert not isinstance(before, Submission)

    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"attempt": 1}))

    after = memory.assignments[ESSAY].submission(ANN)
    assert isinstance(after, Submission)
    assert (after.attempt, after.revision) == (1, revision + 1)
