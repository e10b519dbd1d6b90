"""Revising and withdrawing published grades: permissions, the gradebook, the grade_change."""

from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Accepted
from tests.fixtures.in_memory_course import (
    ANN,
    BEN,
    FINAL_GRADER,
    TA1,
    TEACHER,
    InMemoryCourse,
    event_names,
    moderated_course,
)


def revise(memory: InMemoryCourse, student: int = ANN, **fields: Any) -> Accepted:
    return memory.expect_accepted(revision(student, **fields), FINAL_GRADER)


def revision(student: int = ANN, **fields: Any) -> commands.RevisePublishedGrade:
    return commands.RevisePublishedGrade(student_id=student, reason="Appeal.", **fields)


def withdraw(memory: InMemoryCourse) -> Accepted:
    return memory.expect_accepted(commands.WithdrawPublishedGrade(student_id=ANN, reason="Wrong."), FINAL_GRADER)


def published_course(**settings: Any) -> InMemoryCourse:
    memory = moderated_course(**settings)
    memory.grade(TA1, ANN, 5)
    memory.publish()
    return memory


def test_revised_grade_replaces_the_published_one_and_emits_a_grade_change() -> None:
    memory = published_course()
    memory.expect_accepted(commands.PostGrades(student_ids=None, posted_at=None))
    decision = revise(memory, posted_grade="80%")
    (told,) = memory.told(decision)
    assert (told["old_score"], told["score"], told["old_grade"], told["grade"]) == (5, 8, "5", "8")
    assert (told["grader_id"], told["muted"]) == (FINAL_GRADER, False)
    assert (memory.get_submission(ANN)["score"], memory.get_submission(ANN)["grader_id"]) == (8, FINAL_GRADER)
    assert event_names(decision) == ["grade_revised"]


def test_old_values_of_a_revision_are_the_current_gradebook_values() -> None:
    memory = published_course()
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"score": Decimal(3), "grade": "3"}))
    (told,) = memory.told(revise(memory, score=Decimal(6)))
    assert (told["old_score"], told["old_grade"]) == (3, "3")


def test_revision_to_the_same_grade_is_recorded_but_emits_no_grade_change() -> None:
    memory = published_course()
    decision = revise(memory, score=Decimal(5))
    assert event_names(decision) == ["grade_revised"]
    assert memory.told(decision) == []


def test_excusal_removes_the_grade_and_a_score_lifts_the_excusal() -> None:
    memory = published_course()
    policy = {"late_submission_deduction_enabled": True, "late_submission_deduction": Decimal(10)}
    memory.expect_accepted(commands.UpsertCourse(fields={"late_policy": policy}))
    late = {"attempt": 1, "seconds_late": 3_600}
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields=late))
    (told,) = memory.told(revise(memory, excuse=True))
    assert (told["score"], told["grading_complete"]) == (None, True)
    submission = memory.get_submission(ANN)
    assert (submission["excused"], submission["score"], submission["workflow_state"]) == (True, None, "graded")
    decision = revise(memory, score=Decimal(9))
    (told,) = memory.told(decision)
    assert (told["old_score"], told["score"]) == (None, 8)
    result = {name: decision.result[name] for name in ("score", "entered_score", "points_deducted")}
    assert result == {"score": 8, "entered_score": 9, "points_deducted": 1}
    submission = memory.get_submission(ANN)
    assert (submission["excused"], submission["entered_score"], submission["points_deducted"]) == (False, 9, 1)


def test_withdrawn_grade_leaves_the_work_as_handed_in_and_can_be_revised() -> None:
    memory = published_course()
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"attempt": 1}))
    (told,) = memory.told(withdraw(memory))
    assert (told["old_score"], told["score"], told["grading_complete"]) == (5, None, False)
    submission = memory.get_submission(ANN)
    assert (submission["score"], submission["grade"], submission["excused"]) == (None, None, False)
    assert submission["workflow_state"] == "submitted"
    assert withdraw(memory).events == ()
    (told,) = memory.told(revise(memory, score=Decimal(7)))
    assert (told["old_score"], told["score"]) == (None, 7)
    assert memory.replay().snapshot() == memory.snapshot()


def test_lms_fact_overrides_a_revision() -> None:
    memory = published_course()
    revise(memory, score=Decimal(7))
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields={"score": Decimal(2), "grade": "2"}))
    assert memory.get_submission(ANN)["score"] == 2


def test_student_is_revised_after_the_enrolment_ended_if_the_actor_sees_them() -> None:
    memory = published_course()
    memory.enroll(ANN, "Student", state="deleted")
    revise(memory, score=Decimal(7))
    memory.enroll(FINAL_GRADER, "Teacher", section=2, limited_to_section=True)
    memory.enroll(FINAL_GRADER, "Teacher", state="deleted")
    assert memory.expect_rejection(revision(score=Decimal(8)), FINAL_GRADER) == "not_found"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"posted_grade": ""}, "invalid_score"), ({"posted_grade": "?"}, "invalid_score"),
        ({"excuse": False}, "invalid_score"), ({"excuse": True, "score": Decimal(5)}, "grade_and_excuse"),
        ({}, "invalid_command"), ({"score": Decimal(5), "posted_grade": "5"}, "invalid_command"),
        ({"student": BEN, "score": Decimal(5)}, "not_found"), ({"student": TEACHER, "score": Decimal(5)}, "not_found"),
    ],
)  # fmt: skip
def test_revision_without_a_grade_or_of_an_unpublished_student_is_refused(fields: dict[str, Any], reason: str) -> None:
    assert published_course().expect_rejection(revision(**fields), FINAL_GRADER) == reason


def test_revision_checks_right_moderation_and_publication_in_this_order() -> None:
    memory = moderated_course()
    withdrawal = commands.WithdrawPublishedGrade(student_id=ANN, reason="Wrong.")
    for data in (revision(score=Decimal(5)), withdrawal):
        assert memory.expect_rejection(data, TA1) == "unauthorized"
        assert memory.expect_rejection(data, FINAL_GRADER) == "not_published"
