"""A state is the same after it was encoded and decoded, and its stored form has no personal text."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.eventlog.snapshot_form import DERIVED, decode_state, encode_state, put_texts, take_texts
from services.moderation import commands
from services.moderation.assignment import Assignment
from services.moderation.submission import TouchedSubmission
from tests.fixtures.in_memory_course import ANN, BEN, ESSAY, FINAL_GRADER, TA1, TA2, moderated_course
from tests.unit.moderation.random_histories import random_history, with_grade_ids

TEXTS = ("A remark about Ann", "A rubric's remark", "A comment on her work")


def restore(assignment: Assignment) -> Assignment:
    """Encode and decode a state, with its personal texts kept apart."""
    restored = decode_state(encode_state(assignment))
    for student, texts in take_texts(assignment).items():
        put_texts(restored, student, texts)
    return restored


def without_derived(assignment: Assignment) -> Assignment:
    blank = Assignment(0, b"", 0, 0, 0)
    return replace(assignment, **{name: getattr(blank, name) for name in DERIVED})


def assert_same(restored: Assignment, assignment: Assignment) -> None:
    restored, expected = without_derived(restored), without_derived(assignment)
    assert restored == expected
    # Equal numbers may be written differently: 5 and 5.0 are different states to a reader. A set has no order.
    for field in fields(Assignment):
        value, expected_value = getattr(restored, field.name), getattr(expected, field.name)
        assert isinstance(value, set | frozenset) or repr(value) == repr(expected_value), field.name


@pytest.mark.parametrize("seed", range(24))
def test_states_of_random_histories_are_restored(seed: int) -> None:
    memory = moderated_course()
    for step in random_history(seed):
        memory.submit(with_grade_ids(step.data), step.actor)

    for assignment in memory.assignments.values():
        assert_same(restore(assignment), assignment)


def test_restored_state_evolves_like_the_one_that_was_encoded() -> None:
    memory, twin = moderated_course(), moderated_course()
    for course in (memory, twin):
        course.grade(TA1, ANN, 5)
        course.grade(TA2, ANN, 7)
    twin.assignments[ESSAY] = restore(twin.assignments[ESSAY])

    for course in (memory, twin):
        course.grade(TA1, ANN, 6)
        course.grade(TA1, BEN, 3)
        course.comment(TA2, ANN, TEXTS[0])
        course.select(course.grade(FINAL_GRADER, ANN, 8, final=True))
        course.publish()

    assert twin.document() == memory.document()
    assert_same(twin.assignments[ESSAY], memory.assignments[ESSAY])


def test_personal_texts_are_not_in_the_stored_form() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5, rubric_assessment={"c": {"points": 5, "comments": TEXTS[1]}})
    memory.comment(TA1, ANN, TEXTS[0])
    memory.expect_accepted(
        commands.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment=TEXTS[2], created_at=None)
    )
    assignment = memory.assignments[ESSAY]
    stored, texts = encode_state(assignment), take_texts(assignment)

    assert all(text.encode() not in stored for text in TEXTS)
    assert all(text in repr(texts) for text in TEXTS)
    assert list(texts) == [ANN]


def test_state_whose_texts_were_erased_has_none() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5, rubric_assessment={"c": {"comments": TEXTS[1]}})
    memory.comment(TA1, ANN, TEXTS[0])

    restored = decode_state(encode_state(memory.assignments[ESSAY]))

    (grade,) = restored.grades_by_student[ANN]
    assert grade.rubric_assessment is None
    assert [comment.comment for comment in grade.comments] == [None]


def test_rows_share_equal_values_but_not_numbers_written_differently() -> None:
    memory = moderated_course()
    for student, score in ((ANN, Decimal("5")), (BEN, Decimal("5"))):
        memory.grade(TA1, student, 1)
        memory.assignments[ESSAY].grades_by_student[student][0].score = score
    first, second = decode_state(encode_state(memory.assignments[ESSAY])).provisional_grades.values()
    assert first.score is second.score
    assert first.graded_at is not None

    memory.assignments[ESSAY].grades_by_student[BEN][0].score = Decimal("5.0")
    first, second = decode_state(encode_state(memory.assignments[ESSAY])).provisional_grades.values()
    assert (str(first.score), str(second.score)) == ("5", "5.0")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_any_number_of_equal_rows_is_restored(count: int) -> None:
    assignment = Assignment(1, b"secret", 1, 2, 3)
    touched_at = datetime(2026, 1, 1, tzinfo=UTC)
    rows: dict[int, Any] = {student: TouchedSubmission(touched_at, 1) for student in range(count)}
    assignment.submissions = rows

    assert_same(restore(assignment), assignment)
