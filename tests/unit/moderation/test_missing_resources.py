"""A command about something that does not exist is answered with the id that is at fault."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.commands import CommandData
from services.moderation.course import Course
from services.moderation.decisions import NOT_FOUND, Rejected
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    COURSE,
    ESSAY,
    FINAL_GRADER,
    STRANGER,
    TA1,
    InMemoryCourse,
    moderated_course,
)
from tests.unit.moderation.lms_fact_builders import assignment_fact, comment_fact, submission_fact

SELECT = commands.SelectProvisionalGrade(provisional_grade_id=404)


@pytest.mark.parametrize(
    ("data", "where", "path", "remedy"),
    [
        (assignment_fact(), {"course": COURSE + 1}, "course_id", "send upsert_course first"),
        (submission_fact(ANN), {"course": COURSE + 1}, "course_id", "send upsert_course first"),
        (submission_fact(ANN), {"assignment": ESSAY + 1}, "assignment_id", "send configure_assignment"),
        (SELECT, {"assignment": ESSAY + 1, "actor": FINAL_GRADER}, "assignment_id", "send configure_assignment"),
        (submission_fact(STRANGER), {}, "data.student_id", "send upsert_enrollments first"),
        (comment_fact(STRANGER), {}, "data.student_id", "send upsert_enrollments first"),
        (SELECT, {"actor": FINAL_GRADER}, "data.provisional_grade_id", "use the id in the verdict of its mark"),
        (commands.ReleaseGraderSlot(grader_id=TA1), {"actor": FINAL_GRADER}, "data.grader_id", "holds no slot here"),
    ],
)
def test_not_found_names_the_id_and_what_to_send(
    data: CommandData, where: dict[str, Any], path: str, remedy: str
) -> None:
    refused = moderated_course().submit(data, **where)
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.message) == (NOT_FOUND.reason, NOT_FOUND.message)
    [(found, message)] = refused.errors
    assert found == path
    assert message.endswith(remedy)


def test_first_assignment_of_an_unknown_course_is_refused_by_the_course() -> None:
    refused = InMemoryCourse().submit(assignment_fact())
    assert isinstance(refused, Rejected)
    assert refused.errors[0][0] == "course_id"


def test_fact_about_an_assignment_of_another_course_names_the_conflict_and_users_are_told_nothing_of_it() -> None:
    memory = moderated_course()
    memory.courses[COURSE + 1] = Course(1, COURSE + 1, version=1)
    by_the_lms = memory.submit(assignment_fact(), course=COURSE + 1)
    by_a_user = memory.submit(SELECT, FINAL_GRADER, course=COURSE + 1)
    assert isinstance(by_the_lms, Rejected)
    assert isinstance(by_a_user, Rejected)
    assert by_the_lms.errors == (("assignment_id", "another course has the assignment with this id"),)
    assert by_a_user.errors == (("assignment_id", "the course has no such assignment: send configure_assignment"),)


def test_deleted_assignment_is_named() -> None:
    memory = moderated_course()
    memory.configure(deleted=True)
    refused = memory.submit(submission_fact(ANN))
    assert isinstance(refused, Rejected)
    assert refused.errors == (("assignment_id", "this assignment was deleted"),)


def limit_to_section(memory: InMemoryCourse, user: int, kind: str, section: int = 2) -> None:
    memory.enroll(user, kind, "deleted")
    memory.enroll(user, kind, section=section, limited_to_section=True)


@pytest.mark.parametrize(
    "data", [commands.RevisePublishedGrade, commands.WithdrawPublishedGrade], ids=lambda data: data.__name__
)
def test_students_without_a_published_grade_and_invisible_ones_are_named_in_the_same_words(data: Any) -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5)
    memory.publish()
    limit_to_section(memory, FINAL_GRADER, "Teacher")
    memory.enroll(BEN, "Student", section=2)
    value = {"score": Decimal(6)} if data is commands.RevisePublishedGrade else {}

    # Published, but in another section; in the section, but not published; not in the course at all.
    refused = [memory.submit(data(student_id=s, reason="Appeal", **value), FINAL_GRADER) for s in (ANN, BEN, STRANGER)]

    assert all(isinstance(refusal, Rejected) and refusal.reason == "not_found" for refusal in refused)
    ((path, message),) = refused[0].errors  # type: ignore[union-attr]
    assert path == "data.student_id"
    assert message.endswith("name a student whose grade was published and whom you see")
    assert refused == [refused[0]] * 3


def test_student_of_another_section_is_named_to_the_grader() -> None:
    memory = moderated_course()
    limit_to_section(memory, TA1, "Ta")
    for data in (
        commands.RecordProvisionalGrade(student_id=ANN, score=Decimal(5)),
        commands.RecordProvisionalComment(student_id=ANN, comment="well"),
    ):
        refused = memory.submit(data, TA1)
        assert isinstance(refused, Rejected)
        assert refused.reason == "not_found"
        assert [path for path, _ in refused.errors] == ["data.student_id"]
