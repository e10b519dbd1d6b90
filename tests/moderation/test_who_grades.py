"""Who may give provisional grades and comments, in which order it is refused, and who takes a grader's slot."""

from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
from tests.moderation.memory import (
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
    admin,
    full,
    office,
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
def test_a_refusal_names_the_first_rule_that_is_broken(
    actor: int | None, grade: commands.RecordProvisionalGrade | commands.RecordProvisionalComment, reason: str
) -> None:
    assert full().refuse(grade, actor) == reason


def test_what_cannot_be_found_is_not_found_whoever_asks() -> None:
    memory = office()
    grade = Grade(student_id=ANN, score=FIVE)
    assert memory.refuse(grade, STRANGER, assignment=2999) == "not_found"
    elsewhere = memory.ask(grade, TA1, course=1999)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert memory.refuse(grade, None, assignment=2999) == "unauthenticated"
    memory.configure(deleted=True)
    assert memory.refuse(grade, TA1) == "not_found"


def test_an_assignment_is_not_found_through_another_course() -> None:
    memory = office()
    memory.ask(commands.UpsertCourse(fields={"name": "Other"}), course=1002)
    through_other = memory.ask(Grade(student_id=ANN, score=FIVE), TA1, course=1002)
    assert isinstance(through_other, Rejected)
    assert through_other.reason == "not_found"


@pytest.mark.parametrize(
    ("state", "gradable"),
    [("active", True), ("inactive", True), ("invited", False), ("completed", False), ("deleted", False)],
)
def test_active_and_inactive_students_are_graded_and_no_others(state: str, gradable: bool) -> None:
    memory = office()
    memory.enroll(ANN, "Student", state)
    if gradable:
        memory.grade(TA1, ANN, 5)
    else:
        assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "student_not_enrolled"


@pytest.mark.parametrize("state", ["inactive", "invited", "completed", "deleted"])
def test_only_an_active_enrolment_gives_its_permissions(state: str) -> None:
    memory = office()
    memory.enroll(TA1, "Ta", state)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"


def test_who_may_only_view_grades_neither_grades_nor_comments() -> None:
    memory = office()
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "unauthorized"
    assert memory.refuse(Grade(student_id=ANN, comment="x"), TA1) == "unauthorized"
    assert memory.refuse(Comment(student_id=ANN, comment="x"), TA1) == "unauthorized"


def test_the_final_grader_neither_needs_nor_fills_a_slot() -> None:
    memory = office(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"
    memory.grade(FINAL_GRADER, BEN, 7)


def test_a_former_final_grader_counts_again_and_keeps_what_they_hold() -> None:
    memory = office(grader_count=1)
    memory.grade(FINAL_GRADER, ANN, 5)
    memory.grade(TA1, ANN, 6)
    memory.configure(final_grader_id=TEACHER)
    memory.grade(FINAL_GRADER, BEN, 5)
    memory.grade(TA1, BEN, 6)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA2) == "max_graders_reached"


def test_a_final_grader_removed_from_the_course_is_final_grader_no_longer() -> None:
    memory = office()
    memory.accept(
        commands.UpsertAdmins(admins=(commands.AdminUpsert(user_id=FINAL_GRADER, permissions=("manage_grades",)),))
    )
    memory.enroll(FINAL_GRADER, "Teacher", "inactive")
    memory.select(memory.grade(TA1, ANN, 5))
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert memory.refuse(commands.PublishProvisionalGrades(), FINAL_GRADER) == "unauthorized"


@pytest.mark.parametrize("kind", ["Student", "Observer", "Designer"])
def test_a_final_grader_who_instructs_no_longer_is_final_grader_no_longer(kind: str) -> None:
    memory = office()
    memory.enroll(FINAL_GRADER, kind)
    number = memory.grade(TA1, ANN, 5)
    memory.enroll(FINAL_GRADER, "Teacher", "completed")
    memory.select(number)
    memory.enroll(FINAL_GRADER, "Teacher", "deleted")
    assert memory.refuse(commands.SelectProvisionalGrade(provisional_grade_id=number), FINAL_GRADER) == "unauthorized"
    memory.enroll(FINAL_GRADER, "Ta", "inactive")
    memory.select(number)


def test_without_moderation_nobody_needs_a_slot() -> None:
    memory = office(moderated_grading=False, grader_count=0)
    for grader in (TA1, TA2, TA3):
        memory.comment(grader, ANN)
    # Nor is one taken for later.
    memory.configure(moderated_grading=True, grader_count=1)
    memory.grade(TA3, ANN, 5)
    assert memory.refuse(Grade(student_id=ANN, score=FIVE), TA1) == "max_graders_reached"


def test_an_admin_needs_a_slot_even_for_a_final_grade() -> None:
    memory = full()
    admin(memory, "select_final_grade")
    assert memory.refuse(Grade(student_id=ANN, score=FIVE, final=True), ADMIN) == "max_graders_reached"


def test_nobody_moderates_where_there_is_no_final_grader() -> None:
    memory = office(final_grader_id=None)
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    assert not any(assignment.permits_moderation(course, user) for user in (None, FINAL_GRADER, TEACHER, STRANGER))


def test_who_may_neither_grade_nor_look_has_no_room_among_the_graders() -> None:
    memory = office(final_grader_id=STRANGER)
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    memory.enroll(TA2, "Ta", permissions={"manage_grades": False, "view_all_grades": False})
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    asking = (TEACHER, TA1, TA2, ANN, STRANGER)
    assert [user for user in asking if assignment.can_be_moderated_grader(course, user)] == [TEACHER, TA1]
