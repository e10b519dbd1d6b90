"""Submissions allocated to graders: by name and evenly, enforced or not, and how far each grader is."""

from collections import Counter
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.adjudication_policy import AdjudicationPolicy
from services.moderation.allocation import allocation_document
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    TA2,
    TA3,
    InMemoryCourse,
    add_admin,
    event_names,
    moderated_course,
)

Json = dict[str, Any]
FIRST_STUDENT, FIRST_GRADER = 1_000, 500
THIRD = AdjudicationPolicy(result="mean", within_points=Decimal(1), otherwise="third_mark", third="third_stands")


def by_name(students_by_grader: dict[int, tuple[int, ...]], enforced: bool | None = None) -> commands.CommandData:
    return commands.AllocateSubmissions(allocations=tuple(students_by_grader.items()), enforced=enforced)


def evenly(*graders: int, marks: int = 1, enforced: bool | None = None) -> commands.CommandData:
    even = commands.EvenAllocation(grader_ids=graders, marks=marks)
    return commands.AllocateSubmissions(evenly=even, enforced=enforced)


def allocate(memory: InMemoryCourse, data: commands.CommandData, actor: int = FINAL_GRADER) -> Json:
    result: Json = memory.expect_accepted(data, actor).result
    return result


def graders_of(result: Json) -> dict[int, list[int]]:
    return {row["student_id"]: row["grader_ids"] for row in result["students"]}


def progress(memory: InMemoryCourse) -> dict[int, tuple[int, int, int]]:
    rows = memory.document()["allocation"]["graders"]
    return {row["grader_id"]: (row["allocated"], row["entered"], row["remaining"]) for row in rows}


def grade(student: int, score: int = 5) -> commands.RecordProvisionalGrade:
    return commands.RecordProvisionalGrade(student_id=student, score=Decimal(score))


def large_course(students: int, graders: int, **settings: Any) -> InMemoryCourse:
    memory = moderated_course(**{"grader_count": 100, **settings})
    rows = [(FIRST_STUDENT + number, "StudentEnrollment") for number in range(students)]
    rows += [(FIRST_GRADER + number, "TaEnrollment") for number in range(graders)]
    enrollments = tuple(
        commands.EnrollmentUpsert(user_id=user, type=type_, section_id=None, fields={"state": "active"})
        for user, type_ in rows
    )
    memory.expect_accepted(commands.UpsertEnrollments(enrollments=enrollments))
    memory.configure(assigned_to=tuple(range(FIRST_STUDENT, FIRST_STUDENT + students)))
    return memory


def test_an_even_allocation_is_balanced_to_within_one_and_gives_each_student_as_many_graders_as_marks() -> None:
    random = Random(11)
    for _ in range(25):
        students, graders = random.randint(0, 40), random.randint(1, 9)
        marks = random.randint(1, min(graders, 4))
        memory = large_course(students, graders)
        named = tuple(range(FIRST_GRADER, FIRST_GRADER + graders))

        allocated = graders_of(allocate(memory, evenly(*named, marks=marks)))

        assert allocated.keys() == set(range(FIRST_STUDENT, FIRST_STUDENT + students))
        assert all(len(set(own)) == marks for own in allocated.values())
        load = Counter(grader for own in allocated.values() for grader in own)
        assert max(load[grader] for grader in named) - min(load[grader] for grader in named) <= 1
        assert memory.expect_accepted(evenly(*reversed(named), marks=marks), FINAL_GRADER).events == ()
        assert memory.replay().snapshot() == memory.snapshot()


def test_graders_meet_in_many_pairs() -> None:
    memory = large_course(60, 6)
    allocated = graders_of(allocate(memory, evenly(*range(FIRST_GRADER, FIRST_GRADER + 6), marks=2)))
    assert len({tuple(own) for own in allocated.values()}) > 10


def test_only_students_of_the_set_who_can_be_marked_are_allocated_evenly() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.enroll(35, "Student", section=7)
    picked = commands.SelectStudentsForModeration(student_ids=(ANN, BEN, 35))
    memory.expect_accepted(picked, FINAL_GRADER)
    memory.configure(assigned_to=(ANN, CAT, 35))
    memory.enroll(FINAL_GRADER, "Teacher", section=None, limited_to_section=True)
    assert graders_of(allocate(memory, evenly(TA1, TA2, marks=2))) == {ANN: [TA1, TA2]}


def test_moderator_limited_to_a_section_is_shown_its_students_alone() -> None:
    memory = moderated_course()
    memory.enroll(35, "Student", section=7)
    allocate(memory, by_name({TA1: (ANN, 35)}))
    memory.enroll(FINAL_GRADER, "Teacher", section=None, limited_to_section=True)
    shown = allocate(memory, by_name({TA2: (BEN,)}))
    assert graders_of(shown) == {ANN: [TA1], BEN: [TA2]}
    assert {row["grader_id"]: row["allocated"] for row in shown["graders"]} == {TA1: 1, TA2: 1}


def test_an_allocation_replaces_the_graders_of_the_students_it_names_alone() -> None:
    memory = moderated_course()
    first = memory.expect_accepted(by_name({TA1: (ANN, BEN), TA2: (BEN,)}), FINAL_GRADER)
    assert event_names(first) == ["submissions_allocated"]
    second = memory.expect_accepted(by_name({TA2: (ANN,), FINAL_GRADER: (CAT,)}), FINAL_GRADER)
    assert graders_of(second.result) == {ANN: [TA2], BEN: [TA1, TA2], CAT: [FINAL_GRADER]}
    again = memory.expect_accepted(by_name({TA2: (ANN, BEN), TA1: (BEN,)}), FINAL_GRADER)
    assert (again.events, again.result) == ((), second.result)
    assert memory.replay().snapshot() == memory.snapshot()


def test_state_and_answer_show_how_far_each_grader_is() -> None:
    memory = moderated_course()
    allocate(memory, by_name({TA1: (ANN, BEN), TA2: (BEN, CAT)}))
    memory.grade(TA1, ANN, 5)
    memory.comment(TA1, BEN)
    memory.grade(TA2, ANN, 5)
    assert progress(memory) == {TA1: (2, 1, 1), TA2: (2, 0, 2)}
    memory.enroll(CAT, "Student", "deleted")
    assert progress(memory)[TA2] == (1, 0, 1)
    answer = allocate(memory, by_name({}))
    assert [(row["grader_id"], row["remaining"]) for row in answer["graders"]] == [(TA1, 1), (TA2, 1)]


def test_an_enforced_allocation_refuses_other_graders_before_a_slot_is_taken() -> None:
    memory = moderated_course(grader_count=2)
    allocate(memory, by_name({TA1: (ANN,), TA2: (BEN,)}))
    memory.grade(TA2, ANN, 5)
    assert allocate(memory, by_name({}, enforced=True))["enforced"] is True
    comment = commands.RecordProvisionalComment(student_id=BEN, comment="well")

    assert memory.expect_rejection(grade(BEN), TA1) == "not_allocated"
    assert memory.expect_rejection(comment, TA1) == "not_allocated"
    assert {row["user_id"] for row in memory.document()["moderation_graders"]} == {TA2}
    for student in (ANN, CAT):
        memory.grade(TA1, student, 5)
    assert memory.expect_rejection(grade(ANN), TA3) == "not_allocated"
    assert memory.expect_rejection(grade(CAT), TA3) == "max_graders_reached"
    memory.grade(FINAL_GRADER, BEN, 6)
    allocate(memory, by_name({}, enforced=False))
    memory.grade(TA1, BEN, 6)


def test_a_student_who_needs_a_third_mark_is_open_to_all_graders() -> None:
    memory = moderated_course(grader_count=3, adjudication=THIRD)
    allocate(memory, by_name({TA1: (ANN, BEN), TA2: (ANN, BEN)}, enforced=True))
    for student, second in ((ANN, 9), (BEN, 5)):
        memory.grade(TA1, student, 5)
        memory.grade(TA2, student, second)
    assert memory.expect_rejection(grade(ANN), TA3) == "not_allocated"
    memory.expect_accepted(commands.AdjudicateProvisionalGrades(), FINAL_GRADER)
    memory.grade(TA3, ANN, 7)
    assert memory.expect_rejection(grade(BEN), TA3) == "not_allocated"
    memory.expect_accepted(commands.SetAdjudicationPolicy(adjudication=None), FINAL_GRADER)
    assert memory.expect_rejection(grade(ANN), TA3) == "not_allocated"


def test_more_graders_than_slots_are_refused_and_the_final_grader_needs_none() -> None:
    memory = moderated_course(grader_count=2)
    assert memory.expect_rejection(evenly(TA1, TA2, TA3), FINAL_GRADER) == "max_graders_reached"
    allocate(memory, by_name({TA1: (ANN,), FINAL_GRADER: (BEN,)}))
    assert memory.expect_rejection(by_name({TA2: (BEN,), TA3: (CAT,)}), FINAL_GRADER) == "max_graders_reached"
    memory.grade(TA3, CAT, 5)
    assert memory.expect_rejection(by_name({TA2: (BEN,)}), FINAL_GRADER) == "max_graders_reached"
    memory.configure(grader_count=1)
    allocate(memory, by_name({TA3: (ANN, BEN)}))


@pytest.mark.parametrize("gone", ["unassigned", "unenrolled"])
def test_graders_of_students_who_have_left_take_no_slot(gone: str) -> None:
    memory = moderated_course(grader_count=2)
    allocate(memory, by_name({TA1: (ANN,), TA2: (BEN,)}))
    assert memory.expect_rejection(by_name({TA3: (CAT,)}), FINAL_GRADER) == "max_graders_reached"

    if gone == "unassigned":
        memory.configure(assigned_to=(ANN, CAT))
    else:
        memory.expect_accepted(
            commands.UpsertEnrollments(
                enrollments=(
                    commands.EnrollmentUpsert(
                        user_id=BEN, type="StudentEnrollment", section_id=None, fields={"state": "deleted"}
                    ),
                )
            )
        )

    allocate(memory, by_name({TA3: (CAT,)}))


@pytest.mark.parametrize(
    "data",
    [
        commands.AllocateSubmissions(enforced=True),
        commands.AllocateSubmissions(
            allocations=(), evenly=commands.EvenAllocation(grader_ids=(TA1,), marks=1), enforced=True
        ),
        by_name({ANN: (BEN,)}),
        by_name({STRANGER: (BEN,)}),
        by_name({TA1: (ANN, STRANGER)}),
        by_name({TA1: (TA2,)}),
        by_name({TA1: (CAT,)}),
        evenly(TA1, STRANGER),
        evenly(TA1, TA1, marks=2),
    ],
)
def test_an_unclear_allocation_and_unknown_graders_or_students_are_refused(data: commands.CommandData) -> None:
    memory = moderated_course(assigned_to=(ANN, BEN))
    assert memory.expect_rejection(data, FINAL_GRADER) == "invalid_allocation"


def test_an_allocation_needs_the_right_a_moderated_assignment_and_unpublished_grades() -> None:
    memory = moderated_course()
    assert memory.expect_rejection(by_name({TA1: (ANN,)}), TA1) == "unauthorized"
    memory.publish()
    assert memory.expect_rejection(by_name({TA1: (ANN,)}), FINAL_GRADER) == "already_published"
    unmoderated = moderated_course(moderated_grading=False)
    add_admin(unmoderated, "select_final_grade")
    assert unmoderated.expect_rejection(by_name({TA1: (ANN,)}), ADMIN) == "not_moderated"


def test_hidden_students_and_graders_stay_hidden_in_the_answer() -> None:
    memory = moderated_course(anonymous_grading=True, grader_names_visible_to_final_grader=False)
    result = allocate(memory, by_name({TA1: (ANN, BEN, CAT)}))
    assert all(sorted(row) == ["anonymous_id", "grader_ids"] for row in result["students"])
    assert result["students"] == sorted(result["students"], key=lambda row: row["anonymous_id"])
    memory.grade(TA1, ANN, 5)
    course, essay = memory.courses[COURSE], memory.assignments[ESSAY]
    shown = allocation_document(essay.allocations, essay.allocation_enforced, FINAL_GRADER, None, course, essay)
    for document in (result, shown):
        assert document["graders"] is None
        assert [row["grader_ids"] for row in document["students"]] == [None] * 3


def test_graders_are_named_in_the_allocation_once_the_reader_may_see_them() -> None:
    memory = moderated_course(grader_names_visible_to_final_grader=False)
    allocate(memory, by_name({TA1: (ANN,)}))
    add_admin(memory, "view_audit_trail")
    course, essay = memory.courses[COURSE], memory.assignments[ESSAY]

    def graders_shown_to(reader: int) -> Any:
        document = allocation_document(essay.allocations, essay.allocation_enforced, reader, None, course, essay)
        return document["students"][0]["grader_ids"]

    assert (graders_shown_to(FINAL_GRADER), graders_shown_to(ADMIN)) == (None, [TA1])
    memory.grade(TA1, ANN, 5)
    memory.publish()
    assert graders_shown_to(FINAL_GRADER) == [TA1]


@pytest.mark.parametrize("named_then", [True, False])
@pytest.mark.parametrize("may_be_named_now", [True, False])
def test_allocation_of_an_earlier_state_names_graders_only_if_both_states_allow_it(
    named_then: bool, may_be_named_now: bool
) -> None:
    memory = moderated_course(grader_names_visible_to_final_grader=named_then)
    allocate(memory, by_name({TA1: (ANN,)}))
    course, essay = memory.courses[COURSE], memory.assignments[ESSAY]

    shown = allocation_document(
        essay.allocations, False, FINAL_GRADER, None, course, essay, may_name_graders=may_be_named_now
    )

    is_named = named_then and may_be_named_now
    assert shown["students"] == [{"student_id": ANN, "grader_ids": [TA1] if is_named else None}]
    assert (shown["graders"] is not None) is is_named
