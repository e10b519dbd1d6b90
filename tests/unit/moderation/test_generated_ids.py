"""Generated ids are unique, do not depend on when they are read, and are never given to another student."""

import itertools
import operator
import re

import pytest

from services.moderation import commands, ids
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.ids import IDS_PER_ASSIGNMENT
from services.moderation.ordinal_permutation import ORDINAL_BITS, ORDINAL_MAX, OrdinalPermutation
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    InMemoryCourse,
    moderated_course,
)

BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]{5}")
# In a class of this size, the first candidates of two students collide (58**5 is about 6.6e8).
LARGE_CLASS = 60_000


def submission_fact(memory: InMemoryCourse, student: int, anonymous_id: str | None) -> commands.RecordSubmission:
    return commands.RecordSubmission(student_id=student, fields={"anonymous_id": anonymous_id})


def anonymous_ids(memory: InMemoryCourse) -> dict[int, str]:
    return {row["student_id"]: row["anonymous_id"] for row in memory.document()["submissions"]}


def submission_ids(memory: InMemoryCourse, assignment: int = ESSAY) -> dict[int, int]:
    return {row["student_id"]: row["submission_id"] for row in memory.document(assignment)["submissions"]}


def test_submission_id_is_generated_once_and_stays() -> None:
    memory = moderated_course()
    before = submission_ids(memory)
    assert len(set(before.values())) == 3
    assert {number // IDS_PER_ASSIGNMENT for number in before.values()} == {1}
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student", section=51)
    memory.enroll(34, "Student")
    assert {student: number for student, number in submission_ids(memory).items() if student != 34} == before
    assert submission_ids(memory.replay()) == submission_ids(memory)


def test_submission_ids_show_neither_roster_order_nor_those_of_another_assignment() -> None:
    students = range(1, 1001)
    course = Course(1, 1001, student_ordinals={student: student for student in students})
    assignments = [Assignment(number, b"secret %d" % number, 1, 1001, ESSAY) for number in (1, 2)]
    first, second = (
        [ids.submission_id(course, assignment, student) % IDS_PER_ASSIGNMENT for student in students]
        for assignment in assignments
    )
    for numbers in (first, second):
        rises = sum(later > earlier for earlier, later in itertools.pairwise(numbers))
        assert 400 < rises < 600
    assert len({later - earlier for earlier, later in zip(first, second, strict=True)}) > 990


def test_generated_submission_id_belongs_to_its_student_once_published() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    of_ann = submission_ids(memory)[ANN]
    taken = commands.RecordSubmission(student_id=BEN, fields={"submission_id": of_ann})
    unaware = moderated_course()
    unaware.expect_accepted(taken)
    assert submission_ids(unaware)[ANN] == of_ann + (1 << ORDINAL_BITS)
    memory.expect_accepted(commands.PublishProvisionalGrades(), actor=FINAL_GRADER)
    assert memory.expect_rejection(taken) == "invalid_command"
    assert submission_ids(memory)[ANN] == of_ann


@pytest.mark.slow
@pytest.mark.parametrize("key", [b"", bytes(32)])
def test_ordinal_permutation_is_a_bijection_with_an_inverse(key: bytes) -> None:
    permutation, ordinals = OrdinalPermutation(key), range(1, ORDINAL_MAX + 1)
    images = list(map(permutation.permute, ordinals))
    assert set(images) == set(ordinals)
    assert all(map(operator.eq, map(permutation.invert, images), ordinals))
    assert sum(map(operator.eq, images, ordinals)) < 20


def test_ordinal_permutation_depends_on_its_key_alone_and_never_changes() -> None:
    permutation = OrdinalPermutation(b"a secret")
    assert [permutation.permute(ordinal) for ordinal in (1, 2, 3, ORDINAL_MAX)] == [209508, 256771, 339162, 335374]
    assert [permutation.permute(number) for number in (0, ORDINAL_MAX + 1)] == [0, ORDINAL_MAX + 1]


@pytest.mark.slow
def test_anonymous_ids_are_unique_in_a_large_class() -> None:
    course = Course(1, 1001, student_ordinals={student: student for student in range(1, LARGE_CLASS + 1)})
    assignment = Assignment(1, b"secret", 1, 1001, ESSAY)
    first_choice = {
        next(ids._anonymous_id_candidates(b"secret", b"student", student)) for student in course.student_ordinals
    }
    assert len(first_choice) < LARGE_CLASS, "no two first choices meet: the test shows nothing with this secret"
    drawn = {ids.anonymous_id(course, assignment, student) for student in course.student_ordinals}
    assert len(drawn) == LARGE_CLASS
    assert all(BASE58.fullmatch(one) for one in drawn)


def test_anonymous_ids_do_not_depend_on_generation_order() -> None:
    asked_last, asked_first = moderated_course(), moderated_course()
    first = ids.anonymous_id(asked_first.courses[1001], asked_first.assignments[ESSAY], CAT)
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
