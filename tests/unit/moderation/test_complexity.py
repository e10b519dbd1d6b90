"""A command about one student costs the same in a class of ten and in one of two hundred.

Two deterministic measures: the bytecode instructions that deciding and applying execute, and containers of the state
that refuse iteration, for operations that are a single instruction in CPython, such as copying a list.
"""

import sys
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import pytest

from services.moderation import commands, json_values
from services.moderation.adjudication_policy import AdjudicationPolicy
from tests.fixtures.in_memory_course import ANN, BEN, ESSAY, FINAL_GRADER, TA1, TA2, InMemoryCourse, moderated_course

SMALL, LARGE = 10, 200
NEW_STUDENTS_FROM = 10_000


def count_instructions(run: Callable[[], Any]) -> int:
    """Count the bytecode instructions that a call executes in the rules."""
    counted = 0
    for cached in (json_values.format_time, json_values.format_canvas_time):
        cached.cache_clear()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal counted
        if "services/moderation" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(before)
    return counted


def class_of_size(size: int) -> InMemoryCourse:
    """Build a class in which every student is graded, selected and commented, with anonymous ids."""
    memory = moderated_course(anonymous_grading=True)
    rows = tuple(
        commands.EnrollmentUpsert(
            user_id=student, type="StudentEnrollment", section_id=None, fields={"state": "active"}
        )
        for student in range(NEW_STUDENTS_FROM, NEW_STUDENTS_FROM + size)
    )
    memory.expect_accepted(commands.UpsertEnrollments(enrollments=rows))
    for student in (ANN, *range(NEW_STUDENTS_FROM, NEW_STUDENTS_FROM + size)):
        memory.select(memory.grade(TA1, student, 5, comment="fine"))
    return memory


def commands_by_name(memory: InMemoryCourse) -> dict[str, tuple[commands.CommandData, int | None]]:
    grade = memory.assignments[ESSAY].find_provisional_grade(ANN, TA1, final=False)
    assert grade is not None
    number = grade.provisional_grade_id
    return {
        "grade": (commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(7)), TA2),
        "final grade": (commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(7), final=True), FINAL_GRADER),
        "refused grade": (commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(7)), TA1),
        "comment": (commands.RecordProvisionalComment(student_id=ANN, comment="well"), TA1),
        "select": (commands.SelectProvisionalGrade(provisional_grade_id=number), FINAL_GRADER),
        "bulk select": (commands.BulkSelectProvisionalGrades(provisional_grade_ids=(number,)), FINAL_GRADER),
        "add to the set": (commands.SelectStudentsForModeration(student_ids=(ANN,)), FINAL_GRADER),
        "submission id": (commands.RecordSubmission(student_id=ANN, fields={"submission_id": 7}), None),
        "submission": (commands.RecordSubmission(student_id=ANN, fields={"attempt": 1}), None),
        "anonymous id": (commands.RecordSubmission(student_id=ANN, fields={"anonymous_id": "Ann01"}), None),
        "submission comment": (
            commands.RecordSubmissionComment(student_id=ANN, author_id=TA1, comment="hm", created_at=None),
            None,
        ),
        "enrolment": (
            commands.UpsertEnrollments(
                enrollments=(
                    commands.EnrollmentUpsert(
                        user_id=ANN, type="StudentEnrollment", section_id=None, fields={"state": "inactive"}
                    ),
                )
            ),
            None,
        ),
        "adjudication": (commands.AdjudicateProvisionalGrades(student_ids=(ANN,)), FINAL_GRADER),
        "policy": (commands.SetAdjudicationPolicy(adjudication=AdjudicationPolicy(result="first")), FINAL_GRADER),
        "settings": (commands.ConfigureAssignment(fields={"grader_count": 3}), None),
    }


def measure_costs(memory: InMemoryCourse) -> dict[str, int]:
    return {
        name: count_instructions(partial(memory.submit, data, actor))
        for name, (data, actor) in commands_by_name(memory).items()
    }


class NonIterableDict(dict[Any, Any]):
    """A part of the state as large as the class: lookups, length and changes are allowed, iteration is not."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("walked through what is as large as the class")

    keys = values = items = __iter__


def forbid_iteration(memory: InMemoryCourse) -> InMemoryCourse:
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    for name in ("users", "enrollments", "student_ordinals", "unenrolled_at_position"):
        setattr(course, name, NonIterableDict(getattr(course, name).copy()))
    large = ("selections", "unassigned_at_position", "provisional_grades", "grades_by_student", "submissions")
    for name in (
        *large,
        "students_by_lms_submission_id",
        "students_by_lms_anonymous_id",
        "generated_anonymous_ids",
        "students_by_generated_anonymous_id",
    ):
        setattr(assignment, name, NonIterableDict(getattr(assignment, name).copy()))
    return memory


def test_single_student_command_runs_equal_instructions_in_any_class_size() -> None:
    small, large = measure_costs(class_of_size(SMALL)), measure_costs(class_of_size(LARGE))
    assert large == small
    assert min(small.values()) > 0


@pytest.mark.parametrize("name", commands_by_name(class_of_size(SMALL)))
def test_single_student_command_iterates_no_large_container(name: str) -> None:
    memory = class_of_size(SMALL)
    data, actor = commands_by_name(memory)[name]
    forbid_iteration(memory).submit(data, actor)


def published_class(size: int) -> InMemoryCourse:
    memory = class_of_size(size)
    memory.publish()
    return memory


@pytest.mark.parametrize(
    "data",
    [
        commands.RevisePublishedGrade(student_id=ANN, score=Decimal(7), reason="Appeal."),
        commands.WithdrawPublishedGrade(student_id=ANN, reason="Mistaken."),
    ],
    ids=["revision", "withdrawal"],
)
def test_published_grade_is_changed_by_equal_instructions_in_any_class_size(data: commands.CommandData) -> None:
    small, large = (count_instructions(partial(published_class(n).submit, data, FINAL_GRADER)) for n in (SMALL, LARGE))
    assert large == small > 0
    forbid_iteration(published_class(SMALL)).submit(data, FINAL_GRADER)


def test_adjudication_of_one_student_costs_the_same_in_any_class_size() -> None:
    costs = []
    for size in (SMALL, LARGE):
        memory = class_of_size(size)
        memory.enroll(BEN, "Student")
        memory.configure(adjudication=AdjudicationPolicy(result="mean"))
        memory.grade(TA1, BEN, 5)
        memory.grade(TA2, BEN, 6)
        adjudicate = commands.AdjudicateProvisionalGrades(student_ids=(BEN,))
        costs.append(count_instructions(partial(forbid_iteration(memory).submit, adjudicate, FINAL_GRADER)))
    assert costs[0] == costs[1]


def test_publication_iterates_the_class_once() -> None:
    publish = commands.PublishProvisionalGrades()
    small, large = (
        count_instructions(partial(class_of_size(size).submit, publish, FINAL_GRADER)) for size in (SMALL, LARGE)
    )
    assert small < large < small * LARGE / SMALL
    with pytest.raises(AssertionError, match="walked"):
        forbid_iteration(class_of_size(SMALL)).submit(publish, FINAL_GRADER)
