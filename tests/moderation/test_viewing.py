"""Who is shown which grades, and whose."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import Rejected
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
    TA3,
    Memory,
    admin,
    office,
)
from tests.moderation.seen import COMMENTS, Json, as_seen_by, commented, post, submission, told

NORTH, SOUTH = 51, 52


def test_nobody_is_shown_who_the_student_of_an_anonymous_assignment_is() -> None:
    memory = commented(anonymous_grading=True)
    anonymous_id = memory.gradebook(ANN)["anonymous_id"]
    for user in (FINAL_GRADER, TA1):
        shown = submission(memory, user)
        assert (shown.get("user_id"), shown["anonymous_id"]) == (None, anonymous_id)
        assert str(ANN) not in json.dumps(shown).replace(str(shown["id"]), "")
        assert shown["provisional_grades"][0]["speedgrader_url"].endswith(f"&anonymous_id={anonymous_id}")
        listed = as_seen_by(memory, user).list_submission_students()
        assert not isinstance(listed, Rejected)
        ids = [memory.gradebook(student)["anonymous_id"] for student in listed]
        assert ids == sorted(ids)
    memory.publish()
    assert submission(memory, TA1)["user_id"] == ANN


def test_provisional_grades_are_shown_to_moderators_and_to_who_gave_them() -> None:
    memory = commented()
    admin(memory, "select_final_grade")
    for moderator in (FINAL_GRADER, ADMIN):
        finals = [grade["final"] for grade in submission(memory, moderator)["provisional_grades"]]
        assert finals == [False, False, True]
    assert [grade["scorer_id"] for grade in submission(memory, TA2)["provisional_grades"]] == [TA2]
    assert submission(memory, TA3)["provisional_grades"] == []
    assert "provisional_grades" not in submission(memory, ANN)
    plain = submission(memory, FINAL_GRADER, included=frozenset({"provisional_grades"}))
    assert not {"submission_comments", "rubric_assessments"} & plain["provisional_grades"][0].keys()
    unmoderated = office(moderated_grading=False)
    unmoderated.grade(TA1, ANN, 5)
    assert "provisional_grades" not in submission(unmoderated, TA1)


def test_a_rubric_goes_with_its_grade_and_with_the_publication_to_the_work() -> None:
    memory = office()
    memory.select(memory.grade(TA1, ANN, 5, rubric_assessment={"_1": {"points": 3}}))
    (grade,) = submission(memory, FINAL_GRADER)["provisional_grades"]
    assert grade["rubric_assessments"][0]["data"] == {"_1": {"points": 3}}
    assert "rubric_assessment" not in submission(memory, FINAL_GRADER)
    memory.publish()
    assert submission(memory, TA2)["rubric_assessment"] == {"_1": {"points": 3}}
    assert "rubric_assessment" not in submission(memory, ANN)
    post(memory)
    assert submission(memory, ANN)["rubric_assessment"] == {"_1": {"points": 3}}


def test_a_student_sees_the_grade_once_it_is_posted() -> None:
    memory = office()
    memory.accept(
        commands.RecordSubmission(
            student_id=ANN, fields={"attempt": 1, "submitted_at": datetime(2025, 1, 1, tzinfo=UTC)}
        )
    )
    memory.grade(TA1, ANN, 5)
    memory.publish()
    hidden = submission(memory, ANN)
    assert [hidden[name] for name in ("score", "grade", "grader_id", "workflow_state")] == [None] * 3 + ["submitted"]
    post(memory)
    shown = submission(memory, ANN)
    assert [shown[name] for name in ("score", "grade", "grader_id", "workflow_state")] == [5, "5", TA1, "graded"]


def test_a_grader_limited_to_a_section_neither_sees_nor_grades_others() -> None:
    memory = office()
    memory.enroll(TA1, "Ta", "deleted")
    memory.enroll(TA1, "Ta", section=NORTH, limited_to_section=True)
    memory.enroll(ANN, "Student", section=NORTH)
    memory.enroll(BEN, "Student", section=SOUTH)
    assert as_seen_by(memory, TA1).list_submission_students() == [ANN]
    elsewhere = as_seen_by(memory, TA1).submission_json(BEN, COMMENTS)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert memory.refuse(commands.RecordProvisionalGrade(student_id=BEN, score=Decimal(5)), TA1) == "not_found"
    assert memory.refuse(commands.RecordProvisionalComment(student_id=BEN, comment="x"), TA1) == "not_found"
    memory.grade(TA1, ANN, 5)
    assert told(submission(memory, TA1, ANN)) == []


@pytest.mark.parametrize(
    ("prepare", "user", "student", "expected"),
    [
        (None, TA1, ANN, {"needs_provisional_grade": True}),
        (None, TA1, STRANGER, "not_found"),
        (None, BEN, STRANGER, "not_found"),
        (None, BEN, ANN, "unauthorized"),
        (lambda memory: memory.configure(moderated_grading=False), TA1, ANN, "not_moderated"),
        (lambda memory: memory.configure(moderated_grading=False), BEN, ANN, "unauthorized"),
        (lambda memory: memory.publish(), TA1, ANN, "already_published"),
        (lambda memory: memory.enroll(CAT, "Student", "deleted"), TA1, CAT, "not_found"),
        (lambda memory: memory.enroll(CAT, "Student", "completed"), TA1, CAT, {"needs_provisional_grade": True}),
        (
            lambda memory: memory.enroll(TA1, "Ta", permissions={"manage_grades": False}),
            TA1,
            ANN,
            {"needs_provisional_grade": True},
        ),
    ],
)
def test_the_status_is_refused_in_canvas_order(
    prepare: Callable[[Memory], Any] | None, user: int, student: int, expected: str | Json
) -> None:
    memory = office()
    if prepare is not None:
        prepare(memory)
    answered = as_seen_by(memory, user).provisional_grade_status(student, None)
    assert (answered.reason if isinstance(answered, Rejected) else answered) == expected


def test_the_long_status_is_for_moderators_and_for_a_changed_submission_only() -> None:
    memory = commented()
    changed = memory.assignments[ESSAY].submissions[ANN].updated_at
    assert changed is not None
    same, older = changed.replace(microsecond=999_000), changed.replace(year=2001)
    assert as_seen_by(memory, TA1).provisional_grade_status(ANN, same) == {"needs_provisional_grade": True}
    refused = as_seen_by(memory, TA1).provisional_grade_status(ANN, older)
    assert isinstance(refused, Rejected)
    assert refused.reason == "unauthorized"
    full = as_seen_by(memory, FINAL_GRADER).provisional_grade_status(ANN, older)
    assert isinstance(full, dict)
    first, second = full["provisional_grades"]
    assert (first["selected"], first["readonly"], second["selected"]) == (True, True, False)
    assert (full["final_provisional_grade"]["final"], full["final_provisional_grade"]["readonly"]) == (True, False)
    assert {"scorer_name", "rubric_assessments", "submission_comments"} <= first.keys()
    # Never touched: any time the caller states is another one.
    assert "provisional_grades" in as_seen_by(memory, FINAL_GRADER).provisional_grade_status(BEN, older)  # type: ignore[operator]
