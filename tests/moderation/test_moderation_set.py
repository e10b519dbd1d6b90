"""Who is in the moderation set, which choices count, and how they are made."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.moderation import commands
from tests.moderation.memory import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    TA2,
    Memory,
    admin,
    names,
    office,
)

TABLES = json.loads((Path(__file__).parents[1] / "cases" / "decision_tables.json").read_text())
NORTH, SOUTH = 51, 52


def add(memory: Memory, *students: int, actor: int = FINAL_GRADER) -> Any:
    return memory.accept(commands.SelectStudentsForModeration(student_ids=students), actor)


def bulk(memory: Memory, *grades: int) -> Any:
    return memory.accept(commands.BulkSelectProvisionalGrades(provisional_grade_ids=grades), FINAL_GRADER)


def test_every_assigned_student_is_in_the_set_as_long_as_they_are_assigned() -> None:
    memory = office()
    assert memory.chosen() == {ANN: None, BEN: None, CAT: None}
    memory.configure(assigned_to=[ANN, BEN])
    assert memory.chosen() == {ANN: None, BEN: None}
    memory.enroll(BEN, "Student", "deleted")
    assert memory.chosen() == {ANN: None}
    memory.configure(assigned_to=None)
    assert memory.chosen() == {ANN: None, CAT: None}


@pytest.mark.parametrize("state", ["inactive", "invited", "completed"])
def test_a_student_is_assigned_while_the_enrolment_is_not_deleted(state: str) -> None:
    memory = office()
    memory.enroll(ANN, "Student", state)
    assert ANN in memory.chosen()


def test_students_added_by_hand_are_in_the_set_besides() -> None:
    memory = office(assigned_to=[ANN])
    assert add(memory, CAT, BEN, CAT).result == [{"id": BEN}, {"id": CAT}]
    assert memory.chosen() == {ANN: None, BEN: None, CAT: None}
    assert names(add(memory, BEN)) == []


def test_a_hand_picked_set_holds_whom_was_picked() -> None:
    memory = office(moderation_set="selected")
    assert memory.chosen() == {}
    add(memory, BEN)
    assert memory.chosen() == {BEN: None}
    assert memory.refuse(
        commands.SelectProvisionalGrade(provisional_grade_id=memory.grade(TA1, ANN, 5)), FINAL_GRADER
    ) == ("not_in_moderation_set")


def test_switching_to_a_hand_picked_set_keeps_those_with_a_choice() -> None:
    memory = office()
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    memory.select(memory.grade(TA1, BEN, 5))
    memory.enroll(BEN, "Student", "deleted")
    memory.enroll(BEN, "Student")
    memory.configure(moderation_set="selected")
    assert memory.chosen() == {ANN: grade}


def test_a_choice_is_lost_when_its_student_was_unassigned_since() -> None:
    memory = office()
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student")
    assert memory.chosen()[ANN] is None
    memory.select(grade)
    assert memory.chosen()[ANN] == grade
    memory.configure(assigned_to=[BEN])
    memory.configure(assigned_to=[ANN, BEN])
    assert memory.chosen()[ANN] is None


def test_a_choice_that_was_lost_no_longer_locks_the_grade_nor_decides_the_publication() -> None:
    memory = office()
    memory.select(memory.grade(TA1, ANN, 5))
    memory.grade(TA2, ANN, 6)
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student")
    memory.grade(TA1, ANN, 7)
    assert memory.refuse(commands.PublishProvisionalGrades(), FINAL_GRADER) == "selection_required"


def test_a_student_who_moves_to_another_section_in_one_statement_was_never_away() -> None:
    memory = office()
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student", section=NORTH)
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    rows = tuple(
        commands.EnrollmentUpsert(user_id=ANN, type="StudentEnrollment", section_id=section, fields={"state": state})
        for section, state in ((NORTH, "deleted"), (SOUTH, "active"))
    )
    memory.accept(commands.UpsertEnrollments(enrollments=rows))
    assert memory.chosen()[ANN] == grade
    memory.enroll(ANN, "Student", "deleted", section=SOUTH)
    memory.enroll(ANN, "Student", section=NORTH)
    assert memory.chosen()[ANN] is None


def test_whom_the_assignment_never_was_for_loses_nothing_when_that_is_stated_again() -> None:
    memory = office(assigned_to=[BEN])
    add(memory, ANN)
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    memory.configure(assigned_to=[BEN, CAT])
    assert memory.chosen()[ANN] == grade


def test_adding_names_only_students_whom_the_caller_sees_once() -> None:
    memory = office(moderation_set="selected")
    memory.enroll(ANN, "Student", section=NORTH)
    memory.enroll(BEN, "Student", "inactive")
    memory.enroll(CAT, "Student", "completed")
    assert add(memory, STRANGER, TA1, CAT, BEN, ANN, ANN).result == [{"id": ANN}, {"id": BEN}]


def test_a_moderator_limited_to_a_section_adds_its_students_only() -> None:
    memory = office(moderation_set="selected")
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    memory.enroll(FINAL_GRADER, "Teacher", section=NORTH, limited_to_section=True)
    memory.enroll(ANN, "Student", section=NORTH)
    assert add(memory, ANN, BEN).result == [{"id": ANN}]
    memory.enroll(FINAL_GRADER, "Ta", section=SOUTH)
    assert add(memory, ANN, BEN).result == [{"id": ANN}, {"id": BEN}]


def test_an_account_role_is_limited_to_no_section() -> None:
    memory = office(moderation_set="selected")
    admin(memory, "select_final_grade")
    memory.enroll(ADMIN, "Teacher", section=NORTH, limited_to_section=True)
    assert add(memory, ANN, actor=ADMIN).result == [{"id": ANN}]


def test_nobody_named_is_refused_after_who_may() -> None:
    memory = office()
    nobody = commands.SelectStudentsForModeration(student_ids=())
    assert memory.refuse(nobody, TA1) == "unauthorized"
    assert memory.refuse(nobody, FINAL_GRADER) == "missing_student_ids"


def test_selecting_checks_who_then_what_then_the_set() -> None:
    memory = office(moderation_set="selected")
    grade = commands.SelectProvisionalGrade(provisional_grade_id=memory.grade(TA1, ANN, 5))
    unknown = commands.SelectProvisionalGrade(provisional_grade_id=5)
    assert memory.refuse(unknown, None) == "unauthenticated"
    assert memory.refuse(unknown, TA1) == "unauthorized"
    assert memory.refuse(unknown, FINAL_GRADER) == "not_found"
    assert memory.refuse(grade, FINAL_GRADER) == "not_in_moderation_set"
    add(memory, ANN)
    memory.accept(grade, FINAL_GRADER)
    assert names(memory.accept(grade, FINAL_GRADER)) == ["provisional_grade_selected"]


def test_a_bulk_leaves_out_what_it_cannot_choose_and_what_is_chosen() -> None:
    memory = office(assigned_to=[ANN, BEN])
    ann1, ann2 = memory.grade(TA1, ANN, 5), memory.grade(TA2, ANN, 6)
    ben, cat = memory.grade(TA1, BEN, 7), memory.grade(TA1, CAT, 8)
    done = bulk(memory, 5, ann1, cat, ben, ann2)
    assert [row["selected_provisional_grade_id"] for row in done.result] == [ann2, ben]
    assert memory.chosen() == {ANN: ann2, BEN: ben}
    assert bulk(memory, ann1, ann2, ben).result == []
    assert names(bulk(memory, ben, ann1)) == ["provisional_grade_selected"]


def test_choosing_moves_the_change_time_of_the_submission() -> None:
    memory = office()
    grade = memory.grade(TA1, ANN, 5)
    before = memory.gradebook(ANN)["updated_at"]
    memory.select(grade)
    assert memory.gradebook(ANN)["updated_at"] > before


@pytest.mark.parametrize("row", TABLES["students_named"]["rows"], ids=lambda row: row["id"])
def test_students_are_named_as_in_canvas(row: dict[str, Any]) -> None:
    given = row["given"]
    moderated = given.get("moderated", True)
    memory = office(anonymous_grading=given["anonymous_grading"], moderated_grading=moderated)
    if given.get("published"):
        memory.publish()
    if "active_student_unposted" in given and not given["active_student_unposted"]:
        memory.accept(commands.PostGrades(student_ids=None, posted_at=None))
    named = memory.assignments[ESSAY].can_view_student_names(memory.courses[1001], FINAL_GRADER)
    assert named == row["then"]["students_named"]


def test_nobody_sees_names_of_an_anonymous_assignment_until_it_is_over() -> None:
    memory = office(anonymous_grading=True)
    grade = memory.grade(TA1, ANN, 5)
    hidden = memory.select(grade).result
    assert set(hidden) == {"assignment_id", "anonymous_id", "selected_provisional_grade_id"}
    assert hidden["anonymous_id"] == memory.gradebook(ANN)["anonymous_id"]
    memory.publish()
    assert memory.select(grade).result["student_id"] == ANN


def test_without_moderation_names_stay_hidden_while_an_active_student_is_unposted() -> None:
    memory = office(anonymous_grading=True, moderated_grading=False)
    admin(memory, "select_final_grade")
    memory.enroll(CAT, "Student", "inactive")
    add(memory, ANN, actor=ADMIN)
    grade = memory.grade(TA1, ANN, 5)
    memory.accept(commands.PostGrades(student_ids=(ANN,), posted_at=None))
    assert "anonymous_id" in memory.select(grade, ADMIN).result
    memory.accept(commands.PostGrades(student_ids=(BEN,), posted_at=None))
    assert memory.select(grade, ADMIN).result["student_id"] == ANN


def test_the_set_of_a_deleted_assignment_can_still_be_added_to() -> None:
    memory = office(moderation_set="selected", deleted=True)
    assert add(memory, ANN).result == [{"id": ANN}]
    assert memory.refuse(commands.PublishProvisionalGrades(), FINAL_GRADER) == "not_found"


def test_who_may_not_see_grades_sees_no_names_either() -> None:
    memory = office()
    grade = memory.grade(TA1, ANN, 5)
    memory.accept(
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=ADMIN, permissions=("select_final_grade",)),))
    )
    assert "anonymous_id" in memory.select(grade, ADMIN).result
    admin(memory, "select_final_grade")
    assert memory.select(grade, ADMIN).result["student_id"] == ANN
