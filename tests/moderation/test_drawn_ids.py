"""Ids the service draws: unique, the same whenever they are asked for, and never given to somebody else."""

import re

import pytest

from services.moderation import commands
from services.moderation.assignment import IDS_PER_ASSIGNMENT, Assignment
from services.moderation.course import Course
from tests.moderation.memory import ANN, BEN, CAT, ESSAY, TA1, TA2, Memory, office

BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{5}")
# In a class of this size some two students draw the same five characters first (58**5 is about 6.6e8).
LARGE_CLASS = 60_000


def stated(memory: Memory, student: int, anonymous_id: str | None) -> commands.RecordSubmission:
    return commands.RecordSubmission(student_id=student, fields={"anonymous_id": anonymous_id})


def ids(memory: Memory) -> dict[int, str]:
    return {row["student_id"]: row["anonymous_id"] for row in memory.document()["submissions"]}


def test_a_submission_nobody_has_named_gets_its_id_from_the_students_ordinal() -> None:
    memory = office()
    found = [row["submission_id"] for row in memory.document()["submissions"]]
    assert found == [IDS_PER_ASSIGNMENT + 1, IDS_PER_ASSIGNMENT + 2, IDS_PER_ASSIGNMENT + 3]
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student", section=51)
    assert memory.gradebook(ANN)["submission_id"] == IDS_PER_ASSIGNMENT + 1


def test_no_two_students_of_a_large_class_share_an_anonymous_id() -> None:
    course = Course(1, 1001, student_ordinals={student: student for student in range(1, LARGE_CLASS + 1)})
    assignment = Assignment(1, b"secret", 1, 1001, ESSAY)
    first_choice = {
        next(assignment._anonymous_id_candidates(b"student", student)) for student in course.student_ordinals
    }
    assert len(first_choice) < LARGE_CLASS, "no two first choices meet: the test shows nothing with this secret"
    drawn = {assignment.anonymous_id(course, student) for student in course.student_ordinals}
    assert len(drawn) == LARGE_CLASS
    assert all(BASE58.fullmatch(one) for one in drawn)


def test_an_anonymous_id_is_the_same_whenever_and_for_whomever_it_is_asked_first() -> None:
    asked_last, asked_first = office(), office()
    first = asked_first.assignments[ESSAY].anonymous_id(asked_first.courses[1001], CAT)
    for memory in (asked_last, asked_first):
        memory.enroll(34, "Student")
        memory.accept(stated(memory, 34, "zzzzz"))
    assert ids(asked_last) == ids(asked_first)
    assert ids(asked_last)[CAT] == first
    assert ids(asked_last.read_again()) == ids(asked_last)


def test_another_assignment_has_other_anonymous_ids() -> None:
    memory = office()
    settings = {"name": "Second", "points_possible": None, "grading_type": "points", "moderated_grading": True}
    memory.accept(commands.ConfigureAssignment(fields=settings), assignment=2002)
    other = {row["student_id"]: row["anonymous_id"] for row in memory.document(2002)["submissions"]}
    assert not set(other.values()) & set(ids(memory).values())


def test_an_id_of_another_student_is_refused_whether_drawn_or_stated() -> None:
    memory = office()
    drawn = office()
    of_ben = ids(drawn)[BEN]
    assert memory.refuse(stated(memory, ANN, of_ben)) == "invalid_command"
    memory.accept(stated(memory, BEN, of_ben))
    memory.accept(stated(memory, BEN, "Ben01"))
    assert memory.refuse(stated(memory, ANN, "Ben01")) == "invalid_command"
    assert memory.refuse(stated(memory, ANN, of_ben)) == "invalid_command"
    memory.accept(stated(memory, BEN, None))
    assert ids(memory)[BEN] == of_ben


def test_who_comes_later_draws_past_what_was_stated_before() -> None:
    newcomer = 34
    unaware = office()
    unaware.enroll(newcomer, "Student")
    wanted = ids(unaware)[newcomer]
    memory = office()
    memory.accept(stated(memory, ANN, wanted))
    memory.enroll(newcomer, "Student")
    assert ids(memory)[ANN] == wanted
    assert ids(memory)[newcomer] != wanted
    assert ids(memory.read_again()) == ids(memory)
    assert memory.refuse(stated(memory, newcomer, wanted)) == "invalid_command"


@pytest.mark.parametrize("seed", range(20))
def test_graders_get_five_characters_of_their_own(seed: int) -> None:
    memory = office()
    memory.assignments[ESSAY].secret = b"%d" % seed
    memory.grade(TA1, ANN, 5)
    memory.grade(TA2, ANN, 5)
    memory.grade(TA1, BEN, 5)
    graders = memory.document()["moderation_graders"]
    assert [grader["user_id"] for grader in graders] == [TA1, TA2]
    assert len({grader["anonymous_id"] for grader in graders}) == 2
    assert all(BASE58.fullmatch(grader["anonymous_id"]) for grader in graders)
