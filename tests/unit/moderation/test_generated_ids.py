"""Ids the service draws: unique, the same whenever they are asked for, and never given to somebody else."""

import re

import pytest

from services.moderation import commands
from services.moderation.assignment import IDS_PER_ASSIGNMENT, Assignment
from services.moderation.course import Course
from tests.fixtures.in_memory_course import ANN, BEN, CAT, ESSAY, TA1, TA2, InMemoryCourse, moderated_course

BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{5}")
# In a class of this size some two students draw the same five characters first (58**5 is about 6.6e8).
LARGE_CLASS = 60_000


def submission_fact(memory: InMemoryCourse, student: int, anonymous_id: str | None) -> commands.RecordSubmission:
    return commands.RecordSubmission(student_id=student, fields={"anonymous_id": anonymous_id})


def anonymous_ids(memory: InMemoryCourse) -> dict[int, str]:
    return {row["student_id"]: row["anonymous_id"] for row in memory.document()["submissions"]}


def test_submission_without_an_lms_id_gets_its_id_from_the_student_ordinal() -> None:
    memory = moderated_course()
    found = [row["submission_id"] for row in memory.document()["submissions"]]
    assert found == [IDS_PER_ASSIGNMENT + 1, IDS_PER_ASSIGNMENT + 2, IDS_PER_ASSIGNMENT + 3]
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student", section=51)
    assert memory.get_submission(ANN)["submission_id"] == IDS_PER_ASSIGNMENT + 1


def test_anonymous_ids_are_unique_in_a_large_class() -> None:
    course = Course(1, 1001, student_ordinals={student: student for student in range(1, LARGE_CLASS + 1)})
    assignment = Assignment(1, b"secret", 1, 1001, ESSAY)
    first_choice = {
        next(assignment._anonymous_id_candidates(b"student", student)) for student in course.student_ordinals
    }
    assert len(first_choice) < LARGE_CLASS, "no two first choices meet: the test shows nothing with this secret"
    drawn = {assignment.anonymous_id(course, student) for student in course.student_ordinals}
    assert len(drawn) == LARGE_CLASS
    assert all(BASE58.fullmatch(one) for one in drawn)


def test_anonymous_ids_do_not_depend_on_generation_order() -> None:
    asked_last, asked_first = moderated_course(), moderated_course()
    first = asked_first.assignments[ESSAY].anonymous_id(asked_first.courses[1001], CAT)
    for memory in (asked_last, asked_first):
        memory.enroll(34, "Student")
        memory.expect_accepted(submission_fact(memory, 34, "zzzzz"))
    assert anonymous_ids(asked_last) == anonymous_ids(asked_first)
    assert anonymous_ids(asked_last)[CAT] == first
    assert anonymous_ids(asked_last.replay()) == anonymous_ids(asked_last)


def test_anonymous_ids_differ_between_assignments() -> None:
    memory = moderated_course()
    settings = {"name": "Second", "points_possible": None, "grading_type": "points", "moderated_grading": True}
    memory.expect_accepted(commands.ConfigureAssignment(fields=settings), assignment=2002)
    other = {row["student_id"]: row["anonymous_id"] for row in memory.document(2002)["submissions"]}
    assert not set(other.values()) & set(anonymous_ids(memory).values())


def test_anonymous_id_of_another_student_is_rejected() -> None:
    memory = moderated_course()
    drawn = moderated_course()
    of_ben = anonymous_ids(drawn)[BEN]
    assert memory.expect_rejection(submission_fact(memory, ANN, of_ben)) == "invalid_command"
    memory.expect_accepted(submission_fact(memory, BEN, of_ben))
    memory.expect_accepted(submission_fact(memory, BEN, "Ben01"))
    assert memory.expect_rejection(submission_fact(memory, ANN, "Ben01")) == "invalid_command"
    assert memory.expect_rejection(submission_fact(memory, ANN, of_ben)) == "invalid_command"
    memory.expect_accepted(submission_fact(memory, BEN, None))
    assert anonymous_ids(memory)[BEN] == of_ben


def test_new_student_gets_an_anonymous_id_that_is_not_taken() -> None:
    newcomer = 34
    unaware = moderated_course()
    unaware.enroll(newcomer, "Student")
    wanted = anonymous_ids(unaware)[newcomer]
    memory = moderated_course()
    memory.expect_accepted(submission_fact(memory, ANN, wanted))
    memory.enroll(newcomer, "Student")
    assert anonymous_ids(memory)[ANN] == wanted
    assert anonymous_ids(memory)[newcomer] != wanted
    assert anonymous_ids(memory.replay()) == anonymous_ids(memory)
    assert memory.expect_rejection(submission_fact(memory, newcomer, wanted)) == "invalid_command"


@pytest.mark.parametrize("seed", range(20))
def test_graders_get_unique_anonymous_ids_of_five_characters(seed: int) -> None:
    memory = moderated_course()
    memory.assignments[ESSAY].secret = b"%d" % seed
    memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 5)
    memory.grade(TA1, BEN, 5)
    graders = memory.document()["moderation_graders"]
    assert [grader["user_id"] for grader in graders] == [TA1, TA2]
    assert len({grader["anonymous_id"] for grader in graders}) == 2
    assert all(BASE58.fullmatch(grader["anonymous_id"]) for grader in graders)
