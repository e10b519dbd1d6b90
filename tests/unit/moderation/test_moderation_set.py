"""Members of the moderation set, and selections: which are valid, and how they are made."""

import json
from typing import Any

import pytest

from services.moderation import commands
from tests.fixtures.canvas import CANVAS_CASES
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    CAT,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    TA2,
    InMemoryCourse,
    add_admin,
    event_names,
    moderated_course,
)
from tests.unit.moderation.view_helpers import view_as

TABLES = json.loads((CANVAS_CASES / "decision_tables.json").read_text())
NORTH, SOUTH = 51, 52


def add_students(memory: InMemoryCourse, *students: int, actor: int = FINAL_GRADER) -> Any:
    return memory.expect_accepted(commands.SelectStudentsForModeration(student_ids=students), actor)


def bulk_select(memory: InMemoryCourse, *grades: int) -> Any:
    return memory.expect_accepted(commands.BulkSelectProvisionalGrades(provisional_grade_ids=grades), FINAL_GRADER)


def listed_set(memory: InMemoryCourse) -> Any:
    return view_as(memory, FINAL_GRADER).list_moderated_students()


def test_moderation_set_contains_the_currently_assigned_students() -> None:
    memory = moderated_course()
    assert memory.selections() == {ANN: None, BEN: None, CAT: None}
    memory.configure(assigned_to=[ANN, BEN])
    assert memory.selections() == {ANN: None, BEN: None}
    memory.enroll(BEN, "Student", "deleted")
    assert memory.selections() == {ANN: None}
    memory.configure(assigned_to=None)
    assert memory.selections() == {ANN: None, CAT: None}


@pytest.mark.parametrize("state", ["inactive", "invited", "completed"])
def test_student_stays_assigned_until_the_enrollment_is_deleted(state: str) -> None:
    memory = moderated_course()
    memory.enroll(ANN, "Student", state)
    assert ANN in memory.selections()


def test_manually_added_students_join_the_assigned_set() -> None:
    memory = moderated_course(assigned_to=[ANN])
    assert add_students(memory, CAT, BEN, CAT).result == [{"id": BEN}, {"id": CAT}]
    assert memory.selections() == {ANN: None, BEN: None, CAT: None}
    assert event_names(add_students(memory, BEN)) == []


def test_selected_set_contains_only_added_students() -> None:
    memory = moderated_course(moderation_set="selected")
    assert memory.selections() == {}
    add_students(memory, BEN)
    assert memory.selections() == {BEN: None}
    assert memory.expect_rejection(
        commands.SelectProvisionalGrade(provisional_grade_id=memory.grade(TA1, ANN, 5)), FINAL_GRADER
    ) == ("not_in_moderation_set")


def test_switching_to_a_selected_set_keeps_students_with_a_selection() -> None:
    memory = moderated_course()
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    memory.select(memory.grade(TA1, BEN, 5))
    memory.enroll(BEN, "Student", "deleted")
    memory.enroll(BEN, "Student")
    memory.configure(moderation_set="selected")
    assert memory.selections() == {ANN: grade}


def test_unassigning_a_student_drops_the_selection() -> None:
    memory = moderated_course()
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student")
    assert memory.selections()[ANN] is None
    memory.select(grade)
    assert memory.selections()[ANN] == grade
    memory.configure(assigned_to=[BEN])
    memory.configure(assigned_to=[ANN, BEN])
    assert memory.selections()[ANN] is None


def test_dropped_selection_neither_locks_the_grade_nor_affects_publication() -> None:
    memory = moderated_course()
    memory.select(memory.grade(TA1, ANN, 5))
    memory.grade(TA2, ANN, 6)
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student")
    memory.grade(TA1, ANN, 7)
    assert memory.expect_rejection(commands.PublishProvisionalGrades(), FINAL_GRADER) == "selection_required"


def test_section_change_in_one_command_keeps_the_selection() -> None:
    memory = moderated_course()
    memory.enroll(ANN, "Student", "deleted")
    memory.enroll(ANN, "Student", section=NORTH)
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    rows = tuple(
        commands.EnrollmentUpsert(user_id=ANN, type="StudentEnrollment", section_id=section, fields={"state": state})
        for section, state in ((NORTH, "deleted"), (SOUTH, "active"))
    )
    memory.expect_accepted(commands.UpsertEnrollments(enrollments=rows))
    assert memory.selections()[ANN] == grade
    memory.enroll(ANN, "Student", "deleted", section=SOUTH)
    memory.enroll(ANN, "Student", section=NORTH)
    assert memory.selections()[ANN] is None


def test_reassignment_keeps_the_selection_of_an_added_unassigned_student() -> None:
    memory = moderated_course(assigned_to=[ANN, BEN])
    grade = memory.grade(TA1, ANN, 5)
    memory.configure(assigned_to=[BEN])
    add_students(memory, ANN)
    memory.select(grade)
    memory.configure(assigned_to=[BEN, CAT])
    assert memory.selections()[ANN] == grade


def test_added_student_leaves_the_set_with_the_enrollment() -> None:
    memory = moderated_course(moderation_set="selected")
    add_students(memory, ANN)
    grade = memory.grade(TA1, ANN, 5)
    memory.select(grade)
    assert listed_set(memory) == [ANN]
    memory.enroll(ANN, "Student", "deleted")
    selection = commands.SelectProvisionalGrade(provisional_grade_id=grade)
    assert memory.expect_rejection(selection, FINAL_GRADER) == "not_in_moderation_set"
    assert bulk_select(memory, grade).result == []
    assert (memory.selections(), listed_set(memory)) == ({}, [])
    memory.enroll(ANN, "Student")
    assert (memory.selections(), listed_set(memory)) == ({ANN: None}, [ANN])


def test_adding_returns_each_visible_student_once() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.enroll(ANN, "Student", section=NORTH)
    memory.enroll(BEN, "Student", "inactive")
    memory.enroll(CAT, "Student", "completed")
    assert add_students(memory, STRANGER, TA1, CAT, BEN, ANN, ANN).result == [{"id": ANN}, {"id": BEN}]


def test_section_limited_moderator_adds_only_section_students() -> None:
    memory = moderated_course(moderation_set="selected")
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    memory.enroll(FINAL_GRADER, "Teacher", section=NORTH, limited_to_section=True)
    memory.enroll(ANN, "Student", section=NORTH)
    assert add_students(memory, ANN, BEN).result == [{"id": ANN}]
    memory.enroll(FINAL_GRADER, "Ta", section=SOUTH)
    assert add_students(memory, ANN, BEN).result == [{"id": ANN}, {"id": BEN}]


def test_account_admin_is_not_limited_to_a_section() -> None:
    memory = moderated_course(moderation_set="selected")
    add_admin(memory, "select_final_grade")
    memory.enroll(ADMIN, "Teacher", section=NORTH, limited_to_section=True)
    assert add_students(memory, ANN, actor=ADMIN).result == [{"id": ANN}]


def test_permission_is_checked_before_missing_student_ids() -> None:
    memory = moderated_course()
    nobody = commands.SelectStudentsForModeration(student_ids=())
    assert memory.expect_rejection(nobody, TA1) == "unauthorized"
    assert memory.expect_rejection(nobody, FINAL_GRADER) == "missing_student_ids"


def test_selection_checks_permission_then_existence_then_the_set() -> None:
    memory = moderated_course(moderation_set="selected")
    grade = commands.SelectProvisionalGrade(provisional_grade_id=memory.grade(TA1, ANN, 5))
    unknown = commands.SelectProvisionalGrade(provisional_grade_id=5)
    assert memory.expect_rejection(unknown, None) == "unauthenticated"
    assert memory.expect_rejection(unknown, TA1) == "unauthorized"
    assert memory.expect_rejection(unknown, FINAL_GRADER) == "not_found"
    assert memory.expect_rejection(grade, FINAL_GRADER) == "not_in_moderation_set"
    add_students(memory, ANN)
    memory.expect_accepted(grade, FINAL_GRADER)
    assert event_names(memory.expect_accepted(grade, FINAL_GRADER)) == ["provisional_grade_selected"]


def test_bulk_selection_skips_invalid_and_already_selected_grades() -> None:
    memory = moderated_course()
    ann1, ann2 = memory.grade(TA1, ANN, 5), memory.grade(TA2, ANN, 6)
    ben, cat = memory.grade(TA1, BEN, 7), memory.grade(TA1, CAT, 8)
    memory.configure(assigned_to=[ANN, BEN])
    done = bulk_select(memory, 5, ann1, cat, ben, ann2)
    assert [row["selected_provisional_grade_id"] for row in done.result] == [ann2, ben]
    assert memory.selections() == {ANN: ann2, BEN: ben}
    assert bulk_select(memory, ann1, ann2, ben).result == []
    assert event_names(bulk_select(memory, ben, ann1)) == ["provisional_grade_selected"]


def test_selection_updates_the_submission_timestamp() -> None:
    memory = moderated_course()
    grade = memory.grade(TA1, ANN, 5)
    before = memory.get_submission(ANN)["updated_at"]
    memory.select(grade)
    assert memory.get_submission(ANN)["updated_at"] > before


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", TABLES["students_named"]["rows"], ids=lambda row: row["id"])
def test_student_name_visibility_matches_canvas(row: dict[str, Any]) -> None:
    given = row["given"]
    moderated = given.get("moderated", True)
    memory = moderated_course(anonymous_grading=given["anonymous_grading"], moderated_grading=moderated)
    if given.get("published"):
        memory.publish()
    if "active_student_unposted" in given and not given["active_student_unposted"]:
        memory.expect_accepted(commands.PostGrades(student_ids=None, posted_at=None))
    named = memory.assignments[ESSAY].can_view_student_names(memory.courses[1001], FINAL_GRADER)
    assert named == row["then"]["students_named"]


def test_anonymous_student_names_are_hidden_until_publication() -> None:
    memory = moderated_course(anonymous_grading=True)
    grade = memory.grade(TA1, ANN, 5)
    hidden = memory.select(grade).result
    assert set(hidden) == {"assignment_id", "anonymous_id", "selected_provisional_grade_id"}
    assert hidden["anonymous_id"] == memory.get_submission(ANN)["anonymous_id"]
    memory.publish()
    assert memory.select(grade).result["student_id"] == ANN


def test_unmoderated_anonymous_names_stay_hidden_until_all_active_students_are_posted() -> None:
    memory = moderated_course(anonymous_grading=True, moderated_grading=False)
    add_admin(memory, "select_final_grade")
    memory.enroll(CAT, "Student", "inactive")
    add_students(memory, ANN, actor=ADMIN)
    grade = memory.grade(TA1, ANN, 5)
    memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=None))
    assert "anonymous_id" in memory.select(grade, ADMIN).result
    memory.expect_accepted(commands.PostGrades(student_ids=(BEN,), posted_at=None))
    assert memory.select(grade, ADMIN).result["student_id"] == ANN


def test_moderation_set_of_a_deleted_assignment_accepts_students() -> None:
    memory = moderated_course(moderation_set="selected", deleted=True)
    assert add_students(memory, ANN).result == [{"id": ANN}]
    assert memory.expect_rejection(commands.PublishProvisionalGrades(), FINAL_GRADER) == "not_found"


def test_student_names_require_grade_view_permission() -> None:
    memory = moderated_course()
    grade = memory.grade(TA1, ANN, 5)
    memory.expect_accepted(
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=ADMIN, permissions=("select_final_grade",)),))
    )
    assert "anonymous_id" in memory.select(grade, ADMIN).result
    add_admin(memory, "select_final_grade")
    assert memory.select(grade, ADMIN).result["student_id"] == ANN
