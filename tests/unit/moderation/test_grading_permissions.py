"""Permissions for provisional grades and comments, the order of refusals, and who takes a grader slot."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    TA2,
    TA3,
    TEACHER,
    add_admin,
    course_with_taken_slots,
    moderated_course,
)

Grade = commands.RecordProvisionalGrade
Comment = commands.RecordProvisionalComment
FIVE = Decimal(5)


@pytest.mark.parametrize(
    ("actor", "grade", "reason"),
    [
        (None, Grade(student_id=STRANGER, score=FIVE, excuse=True), "unauthenticated"),
        (BEN, Grade(student_id=STRANGER, score=FIVE, excuse=True), "unauthorized"),
        (STRANGER, Grade(student_id=ANN, score=FIVE), "unauthorized"),
        (TA3, Grade(student_id=STRANGER, score=FIVE, excuse=True), "student_not_enrolled"),
        (TA3, Grade(student_id=ANN, score=FIVE, excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="?", excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="", excuse=True), "grade_and_excuse"),
        (TA3, Grade(student_id=ANN, posted_grade="?"), "max_graders_reached"),
        (TA1, Grade(student_id=ANN, posted_grade="?"), "invalid_score"),
        (TA1, Grade(student_id=ANN), "invalid_score"),
        (TA1, Grade(student_id=ANN, score=FIVE), "modify_selected"),
        (TA1, Grade(student_id=ANN, posted_grade=""), "modify_selected"),
        (FINAL_GRADER, Grade(student_id=BEN, score=FIVE, final=True), "final_without_provisional"),
        (TA3, Comment(student_id=STRANGER, comment="x"), "student_not_enrolled"),
        (TA3, Comment(student_id=ANN, comment="x"), "max_graders_reached"),
        (BEN, Comment(student_id=STRANGER, comment="x"), "unauthorized"),
        (FINAL_GRADER, Comment(student_id=BEN, comment="x", final=True), "final_without_provisional"),
    ],
)
def test_rejection_reports_the_first_violated_rule(
    actor: int | None, grade: commands.RecordProvisionalGrade | commands.RecordProvisionalComment, reason: str
) -> None:
    assert course_with_taken_slots().expect_rejection(grade, actor) == reason


def test_missing_course_or_assignment_is_not_found_for_any_user() -> None:
    memory = moderated_course()
    grade = Grade(student_id=ANN, score=FIVE)
    assert memory.expect_rejection(grade, STRANGER, assignment=2999) == "not_found"
    elsewhere = memory.submit(grade, TA1, course=1999)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert memory.expect_rejection(grade, None, assignment=2999) == "unauthenticated"
    memory.configure(deleted=True)
    assert memory.expect_rejection(grade, TA1) == "not_found"


def test_assignment_is_not_found_in_another_course() -> None:
    memory = moderated_course()
    memory.submit(commands.UpsertCourse(fields={"name": "Other"}), course=1002)
    through_other = memory.submit(Grade(student_id=ANN, score=FIVE), TA1, course=1002)
    assert isinstance(through_other, Rejected)
    assert through_other.reason == "not_found"


@pytest.mark.parametrize(
    ("state", "gradable"),
    [("active", True), ("inactive", True), ("invited", False), ("completed", False), ("deleted", False)],
)
def test_only_active_and_inactive_students_can_be_graded(state: str, gradable: bool) -> None:
    memory = moderated_course()
    memory.enroll(ANN, "Student", state)
    if gradable:
        memory.grade(TA1, ANN, 5)
    else:
        assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA1) == "student_not_enrolled"


@pytest.mark.parametrize("state", ["inactive", "invited", "completed", "deleted"])
def test_only_active_enrollments_grant_permissions(state: str) -> None:
    memory = moderated_course()
    memory.enroll(TA1, "Ta", state)
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"


def test_view_permission_does_not_allow_grading_or_commenting() -> None:
    memory = moderated_course()
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"
    assert memory.expect_rejection(Grade(student_id=ANN, comment="x"), TA1) == "unauthorized"
    assert memory.expect_rejection(Comment(student_id=ANN, comment="x"), TA1) == "unauthorized"


def test_final_grader_does_not_use_a_slot() -> None:
    memory = moderated_course(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"
    memory.grade(FINAL_GRADER, BEN, 7)


def test_former_final_grader_keeps_their_slot() -> None:
    memory = moderated_course(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    memory.configure(final_grader_id=TEACHER)
    memory.grade(FINAL_GRADER, BEN, 5)
    memory.grade(TA1, BEN, 6)
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"


def test_removed_final_grader_loses_moderation_rights() -> None:
    memory = moderated_course()
    memory.expect_accepted(
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=FINAL_GRADER, permissions=("manage_grades",)),))
    )
    memory.enroll(FINAL_GRADER, "Teacher", "inactive")
    memory.select(memory.grade(TA1, ANN, 5))
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert memory.expect_rejection(commands.PublishProvisionalGrades(), FINAL_GRADER) == "unauthorized"


@pytest.mark.parametrize("kind", ["Student", "Observer", "Designer"])
def test_final_grader_without_instructor_enrollment_loses_moderation_rights(kind: str) -> None:
    memory = moderated_course()
    memory.enroll(FINAL_GRADER, kind)
    number = memory.grade(TA1, ANN, 5)
    memory.enroll(FINAL_GRADER, "Teacher", "completed")
    memory.select(number)
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert (
        memory.expect_rejection(commands.SelectProvisionalGrade(provisional_grade_id=number), FINAL_GRADER)
        == "unauthorized"
    )
    memory.enroll(FINAL_GRADER, "Ta", "inactive")
    memory.select(number)


def test_unmoderated_assignment_needs_no_grader_slot() -> None:
    memory = moderated_course(moderated_grading=False, grader_count=0)
    for grader in (TA1, TA2, TA3):
        memory.comment(grader, ANN)
    # No slot is taken for later either.
    memory.configure(moderated_grading=True, grader_count=1)
    memory.grade(TA3, ANN, 5)
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE), TA1) == "max_graders_reached"


def test_admin_needs_a_slot_for_a_final_grade() -> None:
    memory = course_with_taken_slots()
    add_admin(memory, "select_final_grade")
    assert memory.expect_rejection(Grade(student_id=ANN, score=FIVE, final=True), ADMIN) == "max_graders_reached"


def test_assignment_without_final_grader_has_no_moderator() -> None:
    memory = moderated_course(final_grader_id=None)
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    assert not any(assignment.permits_moderation(course, user) for user in (None, FINAL_GRADER, TEACHER, STRANGER))


def test_only_gradebook_viewers_can_be_moderated_graders() -> None:
    memory = moderated_course(final_grader_id=STRANGER)
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    memory.enroll(TA2, "Ta", permissions={"manage_grades": False, "view_all_grades": False})
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    asking = (TEACHER, TA1, TA2, ANN, STRANGER)
    assert [user for user in asking if assignment.can_be_moderated_grader(course, user)] == [TEACHER, TA1]
