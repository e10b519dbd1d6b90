"""Permissions: every operation for every kind of user."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.canvas_views import AssignmentView
from services.moderation.decisions import Rejected
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    START,
    STRANGER,
    TA1,
    TEACHER,
    InMemoryCourse,
    moderated_course,
)

DESIGNER, OBSERVER, MODERATOR_ADMIN, CLERK = 61, 62, 63, 64
GRADES = frozenset({"manage_grades", "view_all_grades"})
GRADERS = {FINAL_GRADER, TEACHER, TA1, ADMIN, MODERATOR_ADMIN}
MODERATORS = {FINAL_GRADER, MODERATOR_ADMIN, CLERK}
ALL_USERS = {*GRADERS, *MODERATORS, DESIGNER, OBSERVER, BEN, STRANGER}


def course_with_all_roles() -> tuple[InMemoryCourse, int]:
    """Build a course with a graded student. The clerk's account-level role may select but not see or give grades."""
    memory = moderated_course(grader_count=9)
    memory.enroll(DESIGNER, "Designer")
    memory.enroll(OBSERVER, "Observer")
    roles = {ADMIN: GRADES, MODERATOR_ADMIN: {*GRADES, "select_final_grade"}, CLERK: {"select_final_grade"}}
    admins = tuple(commands.AdminUpsert(user_id=user, permissions=tuple(held)) for user, held in roles.items())
    memory.expect_accepted(commands.UpsertAdmins(admins=admins))
    return memory, memory.grade(TA1, ANN, 5)


@pytest.mark.parametrize(
    ("operation", "may"),
    [
        (lambda _: commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(6)), GRADERS),
        (lambda _: commands.RecordProvisionalGrade(student_id=ANN, rubric_assessment={}), GRADERS),
        (lambda _: commands.RecordProvisionalComment(student_id=ANN, comment="well"), GRADERS),
        (lambda _: commands.SelectStudentsForModeration(student_ids=(ANN,)), MODERATORS),
        (lambda grade: commands.SelectProvisionalGrade(provisional_grade_id=grade), MODERATORS),
        (lambda grade: commands.BulkSelectProvisionalGrades(provisional_grade_ids=(grade,)), MODERATORS),
        (lambda _: commands.PublishProvisionalGrades(), MODERATORS & GRADERS),
    ],
    ids=["grade", "rubric", "comment", "add to the set", "select", "bulk select", "publish"],
)
def test_write_operations_are_allowed_only_to_permitted_users(
    operation: Callable[[int], commands.CommandData], may: set[int]
) -> None:
    allowed = set()
    for user in ALL_USERS:
        memory, grade = course_with_all_roles()
        decision = memory.submit(operation(grade), user)
        if isinstance(decision, Rejected):
            assert decision.reason == "unauthorized", user
        else:
            allowed.add(user)
    assert allowed == may


@pytest.mark.parametrize(
    ("look", "may"),
    [
        (lambda view: view.list_moderated_students(), MODERATORS),
        (lambda view: view.provisional_grade_status(ANN, None), GRADERS),
        # A moderator sees the marks only with the permission to see grades.
        (lambda view: view.provisional_grade_status(ANN, START), MODERATORS & GRADERS),
        (lambda view: view.list_submission_students(), GRADERS),
        (lambda view: view.submission_json(ANN, ()), GRADERS | {ANN}),
        (lambda view: view.list_gradeable_students(with_grades=False), GRADERS),
        (lambda view: view.list_gradeable_students(with_grades=True), MODERATORS & GRADERS),
    ],
    ids=["the set", "status", "long status", "submissions", "submission", "gradeable students", "with their grades"],
)
def test_read_operations_are_allowed_only_to_permitted_users(
    look: Callable[[AssignmentView], Any], may: set[int]
) -> None:
    memory, _ = course_with_all_roles()
    allowed = set()
    for user in {*ALL_USERS, ANN}:
        shown = look(AssignmentView(memory.courses[1001], memory.assignments[ESSAY], user, "https://lms.example"))
        if isinstance(shown, Rejected):
            assert shown.reason == "unauthorized", user
        else:
            allowed.add(user)
    assert allowed == may
