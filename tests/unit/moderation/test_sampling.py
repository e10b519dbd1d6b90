"""A sample of the marked students: how many, from which marks, with whom on top, and the same when asked again."""

from collections import Counter
from decimal import Decimal
from math import ceil, isqrt
from random import Random
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    TA1,
    TA2,
    InMemoryCourse,
    moderated_course,
)

Json = dict[str, Any]
FIRST_STUDENT = 100
BOUNDARIES = AdjudicationPolicy(result="mean", boundaries=(Decimal(40), Decimal(70)))


def marked_class(scores: list[int | str], **settings: Any) -> InMemoryCourse:
    """A class with a hand-picked set and one mark of TA1 for each student from FIRST_STUDENT on, out of 100 points."""
    memory = moderated_course(**{"moderation_set": "selected", "points_possible": Decimal(100), **settings})
    for student, score in enumerate(scores, FIRST_STUDENT):
        memory.enroll(student, "Student")
        memory.grade(TA1, student, score)
    return memory


def draw(memory: InMemoryCourse, actor: int = FINAL_GRADER, **asked: Any) -> Json:
    result: Json = memory.expect_accepted(build(**asked), actor).result
    return result


def build(**asked: Any) -> commands.DrawModerationSample:
    asked = {
        name: Decimal(value) if name in ("percent", "borderline_within") else value for name, value in asked.items()
    }
    return commands.DrawModerationSample(**{**asked, "include": frozenset(asked.get("include", ()))})


def students(result: Json) -> dict[int, list[str]]:
    return {row["student_id"]: row["reasons"] for row in result["students"]}


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"percent": 10}, 3),
        ({"percent": "12.5"}, 3),
        ({"square_root": True}, 5),
        ({"at_least": 7}, 7),
        ({"at_least": 4, "percent": 25, "square_root": True}, 6),
        ({"at_least": 1_000}, 21),
        ({"percent": 0}, 0),
    ],
)
def test_the_largest_of_the_asked_sizes_counts_and_all_is_enough(asked: Json, size: int) -> None:
    result = draw(marked_class(list(range(21))), **asked)
    assert (result["students_with_mark"], result["sample_size"]) == (21, size)
    assert result["added"] == len(result["students"]) == size


def test_a_sample_is_spread_evenly_over_the_order_of_first_marks() -> None:
    random = Random(5)
    for _ in range(40):
        count, strata = random.randint(1, 24), random.randint(1, 8)
        memory = marked_class([random.randint(0, 9) for _ in range(count)])
        size = random.randint(0, count)
        ranks = rank_by_first_mark(memory)
        part_of = {s: next(p for p in range(strata) if (p + 1) * count // strata > rank) for s, rank in ranks.items()}

        drawn = students(draw(memory, at_least=size, strata=strata))

        taken, held = Counter(part_of[student] for student in drawn), Counter(part_of.values())
        open_parts = [taken[part] for part in held if taken[part] < held[part]]
        assert len(drawn) == size
        assert max(held.values()) - min(held[part] for part in range(strata)) <= 1
        assert not open_parts or max(taken.values(), default=0) - min(open_parts) <= 1


def rank_by_first_mark(memory: InMemoryCourse) -> dict[int, int]:
    """The order of first marks; equal marks in the order of the draw, as a sample of all in one part shows it."""
    order: list[int] = []
    marks = {grade["student_id"]: grade["score"] for grade in memory.document()["provisional_grades"]}
    probe = memory.replay()
    while len(order) < len(marks):
        added = [
            row["student_id"] for row in draw(probe, at_least=len(order) + 1, strata=1)["students"] if row["added"]
        ]
        order += added
    return {student: rank for rank, student in enumerate(sorted(order, key=lambda student: marks[student]))}


def test_asked_again_it_draws_the_same_and_a_larger_sample_has_the_smaller_one() -> None:
    memory = marked_class([index * 7 % 100 for index in range(40)])
    other = memory.replay()
    first = draw(memory, at_least=9)
    again = draw(memory, at_least=9)
    assert students(again) == students(first) == students(draw(other, at_least=9))
    assert (again["added"], first["added"]) == (0, 9)
    assert students(first).keys() < students(draw(memory, at_least=12)).keys()
    assert len(students(draw(memory, at_least=12))) == 12
    assert memory.replay().snapshot() == memory.snapshot()


def test_another_assignment_draws_others() -> None:
    memory = marked_class([50] * 40)
    memory.configure(2002, name="Other", points_possible=Decimal(100), grading_type="points", moderated_grading=True,
                     grader_count=2, final_grader_id=FINAL_GRADER, moderation_set="selected")  # fmt: skip
    for student in range(FIRST_STUDENT, FIRST_STUDENT + 40):
        grade = commands.RecordProvisionalGrade(student_id=student, score=Decimal(50))
        memory.expect_accepted(grade, TA1, 2002)
    other = memory.expect_accepted(build(at_least=10), FINAL_GRADER, 2002).result
    assert students(other).keys() != students(draw(memory, at_least=10)).keys()


def test_never_fewer_than_asked_and_students_of_the_set_count() -> None:
    random = Random(3)
    for _ in range(30):
        count = random.randint(1, 30)
        memory = marked_class([random.randint(0, 100) for _ in range(count)])
        by_hand = random.sample(range(FIRST_STUDENT, FIRST_STUDENT + count), random.randint(0, count))
        if by_hand:
            picked = commands.SelectStudentsForModeration(student_ids=tuple(by_hand))
            memory.expect_accepted(picked, FINAL_GRADER)
        percent = random.randint(0, 100)
        asked = max(ceil(percent * count / 100), isqrt(count - 1) + 1)

        result = draw(memory, percent=percent, square_root=True, strata=random.randint(1, 9))

        assert result["sample_size"] == asked
        assert len(result["students"]) == max(asked, len(by_hand))
        assert result["added"] == max(0, asked - len(by_hand))
        assert all(students(result)[student] == [] for student in by_hand)


def test_failing_and_borderline_students_come_on_top_with_their_reasons() -> None:
    memory = marked_class([39, "39.9", 40, 55, 68, "67.9", 72, 73, 90], adjudication=BOUNDARIES)
    first, result = FIRST_STUDENT, draw(memory, include=("failing", "borderline"), borderline_within=2)
    assert students(result) == {
        first: ["failing", "borderline"],
        first + 1: ["failing", "borderline"],
        first + 2: ["borderline"],
        first + 4: ["borderline"],
        first + 6: ["borderline"],
    }
    assert result["sample_size"] == 0
    drawn = draw(memory, at_least=9, include=("failing",))
    assert students(drawn)[first + 3] == ["drawn"]
    rows = {row["student_id"]: row["sample_reasons"] for row in memory.document()["moderation_set"]}
    assert rows == students(drawn)


@pytest.mark.parametrize(
    ("settings", "failing"),
    [
        ({}, [34, 35, 49]),
        ({"grading_scheme": (("Pass", Decimal("0.35")), ("Fail", Decimal(0)))}, [34]),
        ({"grading_type": "letter_grade"}, [34, 35, 49, 50, 60]),
        ({"adjudication": AdjudicationPolicy(result="mean", boundaries="grading_scheme")}, [34, 35, 49, 50, 60]),
        ({"adjudication": AdjudicationPolicy(result="mean", boundaries=(Decimal(0), Decimal(50)))}, [34, 35, 49]),
    ],
)
def test_failing_is_below_the_first_boundary_of_policy_or_scheme_or_half_of_the_points(
    settings: Json, failing: list[int]
) -> None:
    marks: list[int | str] = [34, 35, 49, 50, 60, 61]
    memory = marked_class(marks, **settings)
    expected = {FIRST_STUDENT + marks.index(mark) for mark in failing}
    assert students(draw(memory, include=("failing",))).keys() == expected


def test_the_mark_that_was_entered_first_decides() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.comment(TA1, ANN)
    memory.grade(TA2, ANN, 3)
    memory.grade(TA1, ANN, 9)
    memory.grade(TA1, BEN, 9)
    memory.grade(TA2, BEN, 3)
    assert students(draw(memory, include=("failing",))) == {ANN: ["failing"]}


def test_test_students_unassigned_and_invisible_students_and_those_without_a_mark_are_left_out() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.enroll(34, "StudentView")
    memory.enroll(35, "Student", section=7)
    for student in (34, 35, ANN, BEN):
        memory.grade(TA1, student, 5)
    memory.comment(TA1, CAT)
    memory.configure(assigned_to=(34, 35, ANN, CAT))
    memory.enroll(FINAL_GRADER, "Teacher", section=None, limited_to_section=True)
    result = draw(memory, percent=100)
    assert students(result) == {ANN: ["drawn"]}


def test_hidden_students_are_drawn_by_anonymous_id_and_not_by_their_marks() -> None:
    memory = marked_class([30, 60, 90], anonymous_grading=True)
    assert memory.expect_rejection(build(at_least=1, include=("failing",)), FINAL_GRADER) == "invalid_sample"
    rows = draw(memory, at_least=2)["students"]
    assert [sorted(row) for row in rows] == [["added", "anonymous_id", "reasons"]] * 2
    assert [row["anonymous_id"] for row in rows] == sorted(row["anonymous_id"] for row in rows)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "send percent, at_least"),
        ({"strata": 4}, "send percent, at_least"),
        ({"include": ("borderline",)}, "borderline_within requires"),
        ({"at_least": 1, "borderline_within": 2}, "borderline_within requires"),
    ],
)
def test_sample_that_says_nothing_or_contradicts_itself_is_refused(asked: Json, words: str) -> None:
    memory = marked_class([50])
    decision = memory.submit(build(**asked), FINAL_GRADER)
    assert isinstance(decision, Rejected)
    assert decision.reason == "invalid_sample"
    assert words in decision.message


def test_sample_is_refused_without_the_right_for_a_set_of_all_and_after_publication() -> None:
    memory = marked_class([50])
    asked = build(at_least=1)
    assert memory.expect_rejection(asked, TA1) == "unauthorized"
    memory.configure(moderation_set="assigned")
    assert memory.expect_rejection(asked, FINAL_GRADER) == "invalid_sample"
    memory.configure(moderation_set="selected")
    memory.publish()
    assert memory.expect_rejection(asked, FINAL_GRADER) == "already_published"
    course, essay = memory.courses[COURSE], memory.assignments[ESSAY]
    assert not any(essay.is_in_moderation_set(course, student) for student in (FIRST_STUDENT, ANN))


def test_letters_and_words_without_points_are_neither_failing_nor_borderline() -> None:
    for points in (None, Decimal(0)):
        for grading_type, words in (("pass_fail", ("complete", "incomplete")), ("letter_grade", ("A", "F", "85"))):
            memory = marked_class([], grading_type=grading_type, points_possible=points)
            for student, word in enumerate(words, FIRST_STUDENT):
                memory.enroll(student, "Student")
                memory.grade(TA1, student, posted_grade=word)
            drawn = students(draw(memory, include=("failing", "borderline"), borderline_within=1))
            assert drawn == ({} if grading_type == "pass_fail" else {FIRST_STUDENT + 2: ["borderline"]})
