"""Facts that parse but cannot be meant are refused by name; facts that become invalid later have no effect."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.course import Course
from services.moderation.course_facts import upsert_course
from services.moderation.decisions import Accepted, Rejected
from services.moderation.fact_checks import FUTURE_MAX
from tests.fixtures.in_memory_course import (
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
from tests.unit.moderation.lms_fact_builders import assignment_fact, comment_fact, submission_fact, users_fact

FAR_FUTURE = datetime(9999, 12, 31, tzinfo=UTC)
NO_DATE = datetime(1, 1, 1, tzinfo=UTC)


def error_path(memory: InMemoryCourse, fact: commands.CommandData, assignment: int = ESSAY) -> str:
    before = memory.snapshot()
    refused = memory.submit(fact, assignment=assignment)
    assert isinstance(refused, Rejected), refused
    assert refused.reason == "invalid_command"
    assert memory.snapshot() == before
    ((path, message),) = refused.errors
    assert ": " in message
    return path


@pytest.mark.parametrize("wrong", [FAR_FUTURE, NO_DATE])
@pytest.mark.parametrize(
    ("build", "path"),
    [
        (
            lambda at: users_fact((1, {"name": "Ann"}), (2, {"name": "Ben", "created_at": at})),
            "data.users[1].created_at",
        ),
        (lambda at: submission_fact(ANN, attempt=1, submitted_at=at), "data.submitted_at"),
        (lambda at: submission_fact(ANN, score=Decimal(5), graded_at=at), "data.graded_at"),
        (lambda at: submission_fact(ANN, posted_at=at), "data.posted_at"),
        (lambda at: comment_fact(ANN, at=at), "data.created_at"),
    ],
)
def test_implausible_times_are_rejected(build: Any, path: str, wrong: datetime) -> None:
    assert error_path(moderated_course(), build(wrong)) == path


def test_time_of_posting_is_checked_and_a_near_future_is_accepted() -> None:
    memory = moderated_course()
    memory.publish()
    assert error_path(memory, commands.PostGrades(student_ids=None, posted_at=FAR_FUTURE)) == "data.posted_at"
    soon = START + FUTURE_MAX - timedelta(days=1)
    memory.expect_accepted(commands.PostGrades(student_ids=(ANN,), posted_at=soon))
    memory.expect_accepted(submission_fact(ANN, attempt=1, submitted_at=soon))


@pytest.mark.parametrize("kind", ["Student", "Observer"])
def test_final_grader_who_is_only_a_learner_is_rejected(kind: str) -> None:
    memory = moderated_course()
    memory.enroll(STRANGER, kind)
    assert error_path(memory, assignment_fact(final_grader_id=STRANGER)) == "data.final_grader_id"
    assert error_path(memory, assignment_fact(final_grader_id=STRANGER), 2002) == "data.final_grader_id"
    memory.enroll(STRANGER, "Ta")
    memory.configure(final_grader_id=STRANGER)


def test_final_grader_may_be_named_before_the_roster_and_not_be_a_student_then() -> None:
    memory = moderated_course(final_grader_id=STRANGER)
    graded = memory.grade(TA1, ANN, 5)
    select = commands.SelectProvisionalGrade(provisional_grade_id=graded)
    memory.expect_accepted(select, STRANGER)
    memory.enroll(STRANGER, "Student")
    assert memory.expect_rejection(select, STRANGER) == "unauthorized"
    memory.enroll(STRANGER, "Teacher")
    memory.expect_accepted(select, STRANGER)


def test_final_grader_who_is_named_while_unmoderated_is_dropped_unchecked() -> None:
    memory = moderated_course(moderated_grading=False)
    memory.configure(final_grader_id=ANN, grader_count=0)
    assert memory.document()["settings"]["final_grader_id"] is None


def test_moderation_without_graders_is_rejected() -> None:
    memory = moderated_course()
    assert error_path(memory, commands.ConfigureAssignment(fields={"grader_count": 0})) == "data.grader_count"
    assert error_path(memory, assignment_fact(grader_count=0), 2002) == "data.grader_count"
    memory.expect_accepted(assignment_fact(), assignment=2002)
    memory.configure(moderated_grading=False, grader_count=0)
    both = commands.ConfigureAssignment(fields={"moderated_grading": True, "grader_count": 0})
    assert error_path(memory, both) == "data.grader_count"


def test_students_and_observers_have_no_permissions_even_if_stated() -> None:
    memory = moderated_course()
    memory.enroll(BEN, "Student", permissions={"manage_grades": True})
    memory.enroll(STRANGER, "Observer", permissions={"manage_grades": True})
    grade = commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(10))
    for user in (BEN, STRANGER):
        assert memory.expect_rejection(grade, user) == "unauthorized"


def test_account_of_another_canvas_shard_is_rejected() -> None:
    course = Course(7_414 * 10**13 + 1, 7)
    refused = upsert_course(commands.UpsertCourse(fields={"account_id": 7_415 * 10**13 + 9}), course)
    assert isinstance(refused, Rejected)
    assert [path for path, _ in refused.errors] == ["data.account_id"]
    for account_id in (7_414 * 10**13 + 9, 9, None):
        assert isinstance(upsert_course(commands.UpsertCourse(fields={"account_id": account_id}), course), Accepted)


def test_teacher_and_final_grader_keep_their_roles() -> None:
    memory = moderated_course()
    memory.enroll(FINAL_GRADER, "Student")
    memory.enroll(TEACHER, "Observer")
    course, essay = memory.courses[1001], memory.assignments[ESSAY]
    assert essay.is_final_grader(course, FINAL_GRADER)
    assert course.has_permission(TEACHER, "manage_grades")
