"""Who is shown which grades, names and comments."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.moderation import commands as asked
from services.moderation.decision import Rejected
from services.moderation.identity import sees_graders, sees_graders_comments
from services.moderation.viewing import View
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
    TEACHER,
    Memory,
    admin,
    office,
)

Json = dict[str, Any]
TABLES = json.loads((Path(__file__).parents[1] / "cases" / "decision_tables.json").read_text())
VIEWERS = {
    "provisional_grader": TA1,
    "grader": TA1,
    "final_grader": FINAL_GRADER,
    "admin_with_select_final_grade": ADMIN,
    "student": ANN,
}
COMMENTS = frozenset({"submission_comments"})
EVERYTHING = frozenset({"submission_comments", "provisional_grades", "rubric_assessment"})
NORTH, SOUTH = 51, 52


def as_seen_by(memory: Memory, user: int) -> View:
    return View(memory.courses[1001], memory.assignments[ESSAY], user, "https://lms.example")


def submission(memory: Memory, user: int, student: int = ANN, included: frozenset[str] = EVERYTHING) -> Json:
    shown = as_seen_by(memory, user).submission(student, included)
    assert not isinstance(shown, Rejected), shown
    return shown


def told(shown: Json) -> list[str]:
    return [comment["comment"] for comment in shown["submission_comments"]]


def ordinary(memory: Memory, author: int, text: str, student: int = ANN) -> None:
    memory.accept(asked.RecordSubmissionComment(student_id=student, author_id=author, comment=text, created_at=None))


def post(memory: Memory) -> None:
    memory.accept(asked.PostGrades(student_ids=None, posted_at=None))


def commented(**settings: Any) -> Memory:
    """TA1, TA2 and the final grader graded Ann's work with a comment each; Ann and the teacher wrote ordinary ones."""
    memory = office(**settings)
    ordinary(memory, ANN, "sorry")
    chosen = memory.grade(TA1, ANN, 5, comment="by TA1")
    memory.grade(TA2, ANN, 6, comment="by TA2")
    memory.grade(FINAL_GRADER, ANN, 7, final=True, comment="by the final grader")
    ordinary(memory, TEACHER, "hello")
    memory.select(chosen)
    return memory


@pytest.mark.parametrize("row", TABLES["sees_other_graders"]["rows"], ids=lambda row: row["id"])
def test_graders_are_named_as_in_canvas(row: Json) -> None:
    given = dict(row["given"])
    viewer, published = VIEWERS[given.pop("viewer")], given.pop("published")
    memory = office(moderated_grading=given.pop("moderated"), **given)
    admin(memory, "select_final_grade")
    if published:
        memory.publish()
    seen = sees_graders(memory.courses[1001], memory.assignments[ESSAY], viewer)
    assert seen == row["then"]["sees_other_graders"]


@pytest.mark.parametrize("row", TABLES["sees_other_graders_comments"]["rows"], ids=lambda row: row["id"])
def test_graders_comments_are_shared_as_in_canvas(row: Json) -> None:
    given = dict(row["given"])
    viewer = VIEWERS[given.pop("viewer")]
    memory = office(moderated_grading=given.pop("moderated"), **given)
    admin(memory, "select_final_grade")
    seen = sees_graders_comments(memory.courses[1001], memory.assignments[ESSAY], viewer)
    assert seen == row["then"]["sees_other_graders_comments"]


ALL = ["sorry", "by TA1", "by TA2", "by the final grader", "hello"]


@pytest.mark.parametrize(
    ("shared", "user", "texts"),
    [
        (True, FINAL_GRADER, ALL),
        (False, FINAL_GRADER, ALL),
        (False, ADMIN, ALL),
        (True, TA3, ALL),
        (True, TA1, ALL),
        (False, TA3, ["sorry"]),
        (False, TA1, ["sorry", "by TA1"]),
        (False, TEACHER, ["sorry", "hello"]),
        (True, ANN, ["sorry"]),
    ],
)
def test_before_the_publication_a_comment_is_read_by_whom_canvas_lets(
    shared: bool, user: int, texts: list[str]
) -> None:
    memory = commented(grader_comments_visible_to_graders=shared)
    admin(memory, "select_final_grade")
    assert told(submission(memory, user)) == texts


@pytest.mark.parametrize(
    ("posted", "user", "texts"),
    [
        # TA1 was chosen: the public copy, made last, stands for the original.
        (False, FINAL_GRADER, ["sorry", "by TA2", "by the final grader", "hello", "by TA1"]),
        (False, TA3, ["sorry", "by the final grader", "by TA1"]),
        (False, TA2, ["sorry", "by TA2", "by the final grader", "by TA1"]),
        (False, ANN, ["sorry"]),
        (True, ANN, ["sorry", "by the final grader", "hello", "by TA1"]),
    ],
)
def test_after_the_publication_the_chosen_graders_copies_stand_for_the_originals(
    posted: bool, user: int, texts: list[str]
) -> None:
    memory = commented(grader_comments_visible_to_graders=False)
    memory.publish()
    if posted:
        post(memory)
    shown = submission(memory, user)
    assert sorted(told(shown)) == sorted(texts)
    assert len({comment["id"] for comment in shown["submission_comments"]}) == len(texts)


def test_who_may_neither_grade_nor_look_reads_nothing_of_others() -> None:
    memory = commented()
    for user in (BEN, STRANGER):
        assert as_seen_by(memory, user).submission(ANN, COMMENTS) == as_seen_by(memory, user).submissions()


@pytest.mark.parametrize(
    ("settings", "user", "named"),
    [
        ({}, TA2, True),
        ({"graders_anonymous_to_graders": True}, TA2, False),
        ({"graders_anonymous_to_graders": True}, FINAL_GRADER, True),
        ({"grader_names_visible_to_final_grader": False}, FINAL_GRADER, False),
    ],
)
def test_an_anonymous_grader_is_anonymous_in_everything_shown(settings: Json, user: int, named: bool) -> None:
    memory = commented(**settings)
    memory.accept(asked.UpsertUsers(users=(asked.StatedUser(user_id=TA1, stated={"name": "Tom"}),)))
    shown = submission(memory, user)
    line = next(c for c in shown["submission_comments"] if c["comment"] == "by TA1")
    anonymous_id = memory.assignments[ESSAY].slots[TA1]
    if named:
        assert (line["author_id"], line["author_name"], "anonymous_id" in line) == (TA1, "Tom", False)
    else:
        assert (line["anonymous_id"], {"author_id", "author_name"} & line.keys()) == (anonymous_id, set())
    if user == FINAL_GRADER:
        first = shown["provisional_grades"][0]
        assert first.get("scorer_id") == (TA1 if named else None)
        assert first.get("anonymous_grader_id") == (None if named else anonymous_id)
        assert ("rubric_assessments" in first) is named


def test_a_student_reads_who_wrote_once_grades_are_posted() -> None:
    memory = commented(graders_anonymous_to_graders=True)
    memory.publish()
    post(memory)
    lines = submission(memory, ANN)["submission_comments"]
    assert all("author_id" in line for line in lines)


def test_nobody_is_shown_who_the_student_of_an_anonymous_assignment_is() -> None:
    memory = commented(anonymous_grading=True)
    anonymous_id = memory.gradebook(ANN)["anonymous_id"]
    for user in (FINAL_GRADER, TA1):
        shown = submission(memory, user)
        assert (shown.get("user_id"), shown["anonymous_id"]) == (None, anonymous_id)
        assert str(ANN) not in json.dumps(shown).replace(str(shown["id"]), "")
        assert shown["provisional_grades"][0]["speedgrader_url"].endswith(f"&anonymous_id={anonymous_id}")
        listed = as_seen_by(memory, user).submissions()
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
        asked.RecordSubmission(student_id=ANN, stated={"attempt": 1, "submitted_at": datetime(2025, 1, 1, tzinfo=UTC)})
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
    assert as_seen_by(memory, TA1).submissions() == [ANN]
    elsewhere = as_seen_by(memory, TA1).submission(BEN, COMMENTS)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert memory.refuse(asked.RecordProvisionalGrade(student_id=BEN, score=Decimal(5)), TA1) == "not_found"
    assert memory.refuse(asked.RecordProvisionalComment(student_id=BEN, comment="x"), TA1) == "not_found"
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
    answered = as_seen_by(memory, user).status(student, None)
    assert (answered.reason if isinstance(answered, Rejected) else answered) == expected


def test_the_long_status_is_for_moderators_and_for_a_changed_submission_only() -> None:
    memory = commented()
    changed = memory.assignments[ESSAY].submissions[ANN].updated_at
    assert changed is not None
    same, older = changed.replace(microsecond=999_000), changed.replace(year=2001)
    assert as_seen_by(memory, TA1).status(ANN, same) == {"needs_provisional_grade": True}
    refused = as_seen_by(memory, TA1).status(ANN, older)
    assert isinstance(refused, Rejected)
    assert refused.reason == "unauthorized"
    full = as_seen_by(memory, FINAL_GRADER).status(ANN, older)
    assert isinstance(full, dict)
    first, second = full["provisional_grades"]
    assert (first["selected"], first["readonly"], second["selected"]) == (True, True, False)
    assert (full["final_provisional_grade"]["final"], full["final_provisional_grade"]["readonly"]) == (True, False)
    assert {"scorer_name", "rubric_assessments", "submission_comments"} <= first.keys()
    # Never touched: any time the caller states is another one.
    assert "provisional_grades" in as_seen_by(memory, FINAL_GRADER).status(BEN, older)  # type: ignore[operator]
