"""Cached lists and documents are never stale."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from services.gateway.state_document_cache import StateDocumentCache
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
