"""Cached lists and documents are never stale."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from services.gateway.state_document_cache import AssignmentRows, StateDocumentCache
from services.moderation import commands
from services.moderation.canvas_views import AssignmentView
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    InMemoryCourse,
    add_admin,
    moderated_course,
)

NORTH = 51
FIRST_ID = 1_000_000
Step = Callable[[InMemoryCourse], Any]


def submission_step(student: int, **stated: Any) -> Step:
    return lambda memory: memory.expect_accepted(commands.RecordSubmission(student_id=student, fields=stated))


STEPS: list[Step] = [
    lambda memory: memory.grade(TA1, ANN, 5, comment="well"),
    lambda memory: memory.grade(TA2, ANN, 6),
    lambda memory: memory.grade(TA1, ANN, 7),
    lambda memory: memory.comment(TA1, BEN),
    lambda memory: memory.grade(FINAL_GRADER, CAT, excuse=True),
    lambda memory: memory.select(memory.assignments[ESSAY].grades_by_student[ANN][0].provisional_grade_id),
    submission_step(BEN, anonymous_id="zzzzz", submission_id=77),
    submission_step(BEN, anonymous_id="11111"),
    submission_step(CAT, attempt=1, submitted_at=datetime(2025, 1, 1, tzinfo=UTC)),
    lambda memory: memory.enroll(34, "Student"),
    lambda memory: submission_step(ANN, submission_id=memory.get_submission(34)["submission_id"])(memory),
    lambda memory: memory.enroll(BEN, "Student", "inactive"),
    lambda memory: memory.configure(assigned_to=[ANN, CAT]),
    lambda memory: memory.configure(moderation_set="selected"),
    lambda memory: memory.expect_accepted(commands.SelectStudentsForModeration(student_ids=(BEN, CAT)), FINAL_GRADER),
    lambda memory: memory.configure(anonymous_grading=False),
    lambda memory: memory.configure(anonymous_grading=True, assigned_to=None),
    lambda memory: memory.enroll(TA1, "Ta", section=NORTH, limited_to_section=True),
    lambda memory: memory.enroll(CAT, "Student", "deleted"),
    lambda memory: memory.publish(),
    lambda memory: memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=None)),
    lambda memory: memory.expect_accepted(
        commands.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment="more", created_at=None)
    ),
    submission_step(ANN, score=Decimal(9), grade="9"),
]


def build_lists(memory: InMemoryCourse) -> list[Any]:
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    views = [AssignmentView(course, assignment, user, "") for user in (FINAL_GRADER, ADMIN, TA1, ANN)]
    return [shown() for view in views for shown in (view.list_moderated_students, view.list_submission_students)]


def test_cached_lists_and_documents_are_current_after_every_change() -> None:
    memory, documents = moderated_course(anonymous_grading=True), StateDocumentCache()
    add_admin(memory, "select_final_grade")
    for step in [lambda _: None, *STEPS]:
        step(memory)
        assert build_lists(memory) == build_lists(memory) == build_lists(memory.replay())
        course, assignment = memory.courses[1001], memory.assignments[ESSAY]
        for _ in range(2):
            assert orjson.loads(orjson.dumps(documents.get_document(course, assignment))) == memory.document()


def test_rows_are_kept_up_to_a_number_of_bytes() -> None:
    bytes_max, comment = 60_000, "x" * 10_000
    documents = StateDocumentCache(bytes_max)
    counts = []
    for number in range(1, 5):
        memory = moderated_course()
        memory.assignments[ESSAY].stream_number = number
        for student in (ANN, BEN):
            memory.grade(TA1, student, 5, comment=comment)
        course, assignment = memory.courses[1001], memory.assignments[ESSAY]
        assert orjson.loads(orjson.dumps(documents.get_document(course, assignment))) == memory.document()
        counts.append(documents.byte_count)

    assert counts[0] > 2 * len(comment)
    # Two assignments, and never three.
    assert counts[1:] == [2 * counts[0]] * 3
    assert counts[1] <= bytes_max < 3 * counts[0]


def test_rows_take_the_memory_at_which_they_are_counted() -> None:
    rows, row_count = AssignmentRows(), 1_000
    tracemalloc.start()
    try:
        for number in range(FIRST_ID, FIRST_ID + row_count):
            rows.put(rows.grades, number, (number, FIRST_ID, FIRST_ID), {"grade": "x" * 500})
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert 1 <= rows.size / taken <= 2


def test_row_that_is_built_again_counts_once() -> None:
    memory, documents = moderated_course(), StateDocumentCache()
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    counts = []
    for score in (5, 6, 7):
        memory.grade(TA1, ANN, score)
        documents.get_document(course, assignment)
        counts.append(documents.byte_count)

    assert counts == counts[:1] * 3


def test_document_of_an_assignment_beyond_the_bytes_is_complete() -> None:
    memory, documents = moderated_course(), StateDocumentCache(bytes_max=1)
    memory.grade(TA1, ANN, 5)
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]

    assert orjson.loads(orjson.dumps(documents.get_document(course, assignment))) == memory.document()
    assert documents.byte_count == 0
