"""Which grades of which students a user sees."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from services.moderation import commands
from services.moderation.decisions import NOT_FOUND, UNAUTHORIZED, Rejected
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
    TA3,
    InMemoryCourse,
    add_admin,
    moderated_course,
)
from tests.unit.moderation.view_helpers import (
    ALL_INCLUDES,
    COMMENTS,
    Json,
    comment_texts,
    course_with_comments,
    post_grades,
    view_anonymous_submission,
    view_as,
    view_submission,
)

NORTH, SOUTH = 51, 52


def test_anonymous_assignment_hides_the_student_from_all_viewers() -> None:
    memory = course_with_comments(anonymous_grading=True)
    add_admin(memory, "select_final_grade")
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    for user in (FINAL_GRADER, TA1, ADMIN):
        shown = view_anonymous_submission(memory, user, anonymous_id)
        assert (shown.get("user_id"), shown["anonymous_id"]) == (None, anonymous_id)
        assert str(ANN) not in json.dumps(shown).replace(str(shown["id"]), "")
        for grade in shown["provisional_grades"]:
            assert grade["speedgrader_url"].endswith(f"&anonymous_id={anonymous_id}")
        listed = view_as(memory, user).list_submission_students()
        assert not isinstance(listed, Rejected)
        ids = [memory.get_submission(student)["anonymous_id"] for student in listed]
        assert ids == sorted(ids)
    memory.publish()
    assert view_submission(memory, TA1)["user_id"] == ANN


@pytest.mark.parametrize("user", [FINAL_GRADER, TA1, ADMIN, BEN, STRANGER])
@pytest.mark.parametrize("student", [ANN, STRANGER, None])
def test_hidden_student_cannot_be_asked_for_by_user_id(user: int, student: int | None) -> None:
    memory = course_with_comments(anonymous_grading=True)
    add_admin(memory, "select_final_grade")
    view = view_as(memory, user)
    if student == user:
        student = None
    for answer in (view.submission_json(student, ALL_INCLUDES), view.provisional_grade_status(student, None)):
        assert answer == UNAUTHORIZED
    assert view.hides_student(student)


def test_student_sees_their_own_submission_without_its_anonymous_id() -> None:
    memory = course_with_comments(anonymous_grading=True)
    shown = view_submission(memory, ANN)
    assert (shown["user_id"], "anonymous_id" in shown) == (ANN, False)


def test_anonymous_id_finds_a_submission_of_this_assignment_only() -> None:
    memory = course_with_comments()
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    shown = view_anonymous_submission(memory, TA1, anonymous_id)
    assert (shown.get("user_id"), shown["anonymous_id"]) == (None, anonymous_id)
    assert shown["provisional_grades"] == view_submission(memory, TA1)["provisional_grades"]
    assert view_as(memory, TA1).anonymous_submission_json("zzzzz", COMMENTS) == NOT_FOUND
    assert view_as(memory, BEN).anonymous_submission_json(anonymous_id, COMMENTS) == UNAUTHORIZED
    status = view_as(memory, TA1).anonymous_provisional_grade_status(anonymous_id, None)
    assert status == {"needs_provisional_grade": True}
    assert view_as(memory, TA1).anonymous_provisional_grade_status("", None) == NOT_FOUND


def test_account_admin_sees_both_the_anonymous_id_and_the_user_id() -> None:
    memory = moderated_course()
    add_admin(memory)
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    admin, grader = view_submission(memory, ADMIN), view_submission(memory, TA1)
    assert (admin["user_id"], admin["anonymous_id"]) == (ANN, anonymous_id)
    assert (grader["user_id"], "anonymous_id" in grader) == (ANN, False)


def test_provisional_grades_are_visible_to_moderators_and_their_graders() -> None:
    memory = course_with_comments()
    add_admin(memory, "select_final_grade")
    for moderator in (FINAL_GRADER, ADMIN):
        finals = [grade["final"] for grade in view_submission(memory, moderator)["provisional_grades"]]
        assert finals == [False, False, True]
    assert [grade["scorer_id"] for grade in view_submission(memory, TA2)["provisional_grades"]] == [TA2]
    assert view_submission(memory, TA3)["provisional_grades"] == []
    assert "provisional_grades" not in view_submission(memory, ANN)
    plain = view_submission(memory, FINAL_GRADER, included=frozenset({"provisional_grades"}))
    assert not {"submission_comments", "rubric_assessments"} & plain["provisional_grades"][0].keys()
    unmoderated = moderated_course(moderated_grading=False)
    unmoderated.grade(TA1, ANN, 5)
    assert "provisional_grades" not in view_submission(unmoderated, TA1)


def test_publication_copies_the_rubric_to_the_submission() -> None:
    memory = moderated_course()
    memory.select(memory.grade(TA1, ANN, 5, rubric_assessment={"_1": {"points": 3}}))
    (grade,) = view_submission(memory, FINAL_GRADER)["provisional_grades"]
    assert grade["rubric_assessments"][0]["data"] == [{"criterion_id": "_1", "points": 3}]
    assert "rubric_assessment" not in view_submission(memory, FINAL_GRADER)
    memory.publish()
    assert view_submission(memory, TA2)["rubric_assessment"] == {"_1": {"points": 3}}
    assert "rubric_assessment" not in view_submission(memory, ANN)
    post_grades(memory)
    assert view_submission(memory, ANN)["rubric_assessment"] == {"_1": {"points": 3}}


def test_student_sees_the_grade_only_after_posting() -> None:
    memory = moderated_course()
    memory.expect_accepted(
        commands.RecordSubmission(
            student_id=ANN, fields={"attempt": 1, "submitted_at": datetime(2025, 1, 1, tzinfo=UTC)}
        )
    )
    memory.grade(TA1, ANN, 5)
    memory.publish()
    hidden = view_submission(memory, ANN)
    assert [hidden[name] for name in ("score", "grade", "grader_id", "workflow_state")] == [None] * 3 + ["submitted"]
    post_grades(memory)
    shown = view_submission(memory, ANN)
    assert [shown[name] for name in ("score", "grade", "grader_id", "workflow_state")] == [5, "5", TA1, "graded"]


def test_section_limited_grader_cannot_view_or_grade_other_sections() -> None:
    memory = moderated_course()
    memory.enroll(TA1, "Ta", "deleted")
    memory.enroll(TA1, "Ta", section=NORTH, limited_to_section=True)
    memory.enroll(ANN, "Student", section=NORTH)
    memory.enroll(BEN, "Student", section=NORTH)
    memory.enroll(BEN, "Student", "deleted", section=NORTH)
    memory.enroll(BEN, "Student", section=SOUTH)
    assert view_as(memory, TA1).list_submission_students() == [ANN]
    elsewhere = view_as(memory, TA1).submission_json(BEN, COMMENTS)
    assert isinstance(elsewhere, Rejected)
    assert elsewhere.reason == "not_found"
    assert (
        memory.expect_rejection(commands.RecordProvisionalGrade(student_id=BEN, score=Decimal(5)), TA1) == "not_found"
    )
    assert memory.expect_rejection(commands.RecordProvisionalComment(student_id=BEN, comment="x"), TA1) == "not_found"
    memory.grade(TA1, ANN, 5)
    assert comment_texts(view_submission(memory, TA1, ANN)) == []


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
def test_status_rejections_follow_canvas_order(
    prepare: Callable[[InMemoryCourse], Any] | None, user: int, student: int, expected: str | Json
) -> None:
    memory = moderated_course()
    if prepare is not None:
        prepare(memory)
    answered = view_as(memory, user).provisional_grade_status(student, None)
    assert (answered.reason if isinstance(answered, Rejected) else answered) == expected


def test_full_status_requires_a_moderator_and_a_changed_submission() -> None:
    memory = course_with_comments()
    changed = memory.assignments[ESSAY].submissions[ANN].updated_at
    assert changed is not None
    same, older = changed.replace(microsecond=999_000), changed.replace(year=2001)
    assert view_as(memory, TA1).provisional_grade_status(ANN, same) == {"needs_provisional_grade": True}
    refused = view_as(memory, TA1).provisional_grade_status(ANN, older)
    assert isinstance(refused, Rejected)
    assert refused.reason == "unauthorized"
    full = view_as(memory, FINAL_GRADER).provisional_grade_status(ANN, older)
    assert isinstance(full, dict)
    first, second = full["provisional_grades"]
    assert (first["selected"], first["readonly"], second["selected"]) == (True, True, False)
    assert (full["final_provisional_grade"]["final"], full["final_provisional_grade"]["readonly"]) == (True, False)
    assert {"scorer_name", "rubric_assessments", "submission_comments"} <= first.keys()
    # The submission was never touched: any time that the caller states differs.
    assert "provisional_grades" in view_as(memory, FINAL_GRADER).provisional_grade_status(BEN, older)  # type: ignore[operator]


def test_gradeable_student_is_shown_as_canvas_shows_a_user() -> None:
    memory = moderated_course()
    name = commands.UserUpsert(user_id=ANN, fields={"name": "Ann Archer", "short_name": "Ann"})
    memory.expect_accepted(commands.UpsertUsers(users=(name,)))
    assert view_as(memory, TA1).gradeable_student_json(ANN, ()) == {
        "id": ANN,
        "anonymous_id": "v",
        "display_name": "Ann",
        "avatar_image_url": "https://lms.example/images/messages/avatar-50.png",
        "html_url": f"https://lms.example/courses/1001/users/{ANN}",
        "pronouns": None,
    }


def test_hidden_gradeable_student_has_a_number_in_the_order_of_anonymous_ids() -> None:
    memory = moderated_course(anonymous_grading=True)
    view = view_as(memory, TA1)
    listed = view.list_gradeable_students(with_grades=False)
    assert not isinstance(listed, Rejected)
    shown = [view.gradeable_student_json(student, ()) for student in listed]
    assert [row["display_name"] for row in shown] == ["Student 1", "Student 2", "Student 3"]
    assert [set(row) for row in shown] == [{"anonymous_id", "avatar_image_url", "display_name"}] * 3


def test_gradeable_students_are_sorted_by_name_unless_hidden() -> None:
    memory = moderated_course()
    names = {ANN: "zoe", BEN: "Ben", CAT: "Cat"}
    users = tuple(commands.UserUpsert(user_id=user, fields={"name": name}) for user, name in names.items())
    memory.expect_accepted(commands.UpsertUsers(users=users))
    view = view_as(memory, TA1)
    assert view.list_gradeable_students(with_grades=False, by_name=True) == [BEN, CAT, ANN]
    assert view.list_gradeable_students(with_grades=False, by_name=True, descending=True) == [ANN, CAT, BEN]
    assert view.list_gradeable_students(with_grades=False, descending=True) == [CAT, BEN, ANN]
    users = (commands.UserUpsert(user_id=ANN, fields={"name": "Abe"}),)
    memory.expect_accepted(commands.UpsertUsers(users=users))
    assert view_as(memory, TA1).list_gradeable_students(with_grades=False, by_name=True) == [ANN, BEN, CAT]
    memory.configure(anonymous_grading=True)
    hidden = view_as(memory, TA1)
    assert hidden.list_gradeable_students(with_grades=False, by_name=True) == hidden.list_submission_students()


def test_students_without_moderation_have_empty_provisional_grades() -> None:
    memory = moderated_course(moderated_grading=False)
    add_admin(memory, "select_final_grade")
    row = view_as(memory, ADMIN).gradeable_student_json(ANN, {"provisional_grades"})
    assert (row["in_moderation_set"], row["selected_provisional_grade_id"], row["provisional_grades"]) == (
        False, None, [],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "score", "data"),
    [
        (
            {"_1": {"points": "3", "rating_id": "r1"}, "_2": {"points": 2.5, "comments": "well"}},
            5.5,
            [
                {"criterion_id": "_1", "id": "r1", "points": 3.0},
                {"criterion_id": "_2", "points": 2.5, "comments": "well"},
            ],
        ),
        ({"_1": {"points": ""}}, None, [{"criterion_id": "_1", "points": None}]),
        ({"_1": {"points": "many"}}, None, [{"criterion_id": "_1", "points": "many"}]),
    ],
)
def test_rubric_assessment_is_a_list_of_ratings(sent: Json, score: float | None, data: list[Json]) -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5, rubric_assessment=sent)
    (grade,) = view_submission(memory, FINAL_GRADER)["provisional_grades"]
    (assessment,) = grade["rubric_assessments"]
    assert (assessment["assessor_id"], assessment["score"], assessment["data"]) == (TA1, score, data)


def test_inactive_students_can_be_graded_but_are_not_listed_with_the_submissions() -> None:
    memory = moderated_course()
    memory.enroll(CAT, "Student", "inactive")
    view = view_as(memory, TA1)
    assert view.list_submission_students() == [ANN, BEN]
    assert view.list_gradeable_students(with_grades=False) == [ANN, BEN, CAT]
    memory.enroll(CAT, "Student", "invited")
    assert view_as(memory, TA1).list_submission_students() == [ANN, BEN, CAT]
    assert view_as(memory, TA1).list_gradeable_students(with_grades=False) == [ANN, BEN]
