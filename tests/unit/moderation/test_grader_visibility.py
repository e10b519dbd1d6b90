"""Which graders' names and comments a user sees."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from services.moderation import commands
from services.moderation.visibility import can_view_grader_comments, can_view_grader_names
from tests.fixtures.canvas import CANVAS_CASES
from tests.fixtures.in_memory_course import (
    ADMIN,
    ANN,
    BEN,
    ESSAY,
    FINAL_GRADER,
    START,
    STRANGER,
    TA1,
    TA2,
    TA3,
    TEACHER,
    add_admin,
    moderated_course,
)
from tests.unit.moderation.view_helpers import (
    COMMENTS,
    Json,
    add_ordinary_comment,
    comment_texts,
    course_with_comments,
    post_grades,
    view_anonymous_submission,
    view_as,
    view_submission,
)

TABLES = json.loads((CANVAS_CASES / "decision_tables.json").read_text())
VIEWERS = {
    "provisional_grader": TA1,
    "grader": TA1,
    "final_grader": FINAL_GRADER,
    "admin_with_select_final_grade": ADMIN,
    "student": ANN,
}


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", TABLES["sees_other_graders"]["rows"], ids=lambda row: row["id"])
def test_grader_name_visibility_matches_canvas(row: Json) -> None:
    given = dict(row["given"])
    viewer, published = VIEWERS[given.pop("viewer")], given.pop("published")
    memory = moderated_course(moderated_grading=given.pop("moderated"), **given)
    add_admin(memory, "select_final_grade")
    if published:
        memory.publish()
    seen = can_view_grader_names(memory.courses[1001], memory.assignments[ESSAY], viewer)
    assert seen == row["then"]["sees_other_graders"]


@pytest.mark.cases("rows of the decision tables")
@pytest.mark.parametrize("row", TABLES["sees_other_graders_comments"]["rows"], ids=lambda row: row["id"])
def test_grader_comment_visibility_matches_canvas(row: Json) -> None:
    given = dict(row["given"])
    viewer = VIEWERS[given.pop("viewer")]
    memory = moderated_course(moderated_grading=given.pop("moderated"), **given)
    add_admin(memory, "select_final_grade")
    seen = can_view_grader_comments(memory.courses[1001], memory.assignments[ESSAY], viewer)
    assert seen == row["then"]["sees_other_graders_comments"]


PARENT = 61
HIDDEN = {
    "grader_names_visible_to_final_grader": False,
    "grader_comments_visible_to_graders": False,
    "graders_anonymous_to_graders": True,
}


@pytest.mark.parametrize(
    ("settings", "viewer", "before", "after"),
    [
        ({}, TA1, True, True),
        ({"graders_anonymous_to_graders": True}, TA1, False, True),
        # A grader whose comments are hidden is not named either, although graders are not anonymous.
        ({"grader_comments_visible_to_graders": False}, TA1, False, True),
        ({"grader_names_visible_to_final_grader": False}, TA1, True, True),
        ({"grader_names_visible_to_final_grader": False}, FINAL_GRADER, False, True),
        ({"graders_anonymous_to_graders": True, "grader_comments_visible_to_graders": False}, FINAL_GRADER, True, True),
        (HIDDEN, TEACHER, False, True),
        (HIDDEN, ADMIN, True, True),
        ({}, ANN, False, False),
        ({}, STRANGER, False, False),
    ],
)
def test_grader_names_are_visible_to_all_graders_after_publication(
    settings: Json, viewer: int, before: bool, after: bool
) -> None:
    memory = moderated_course(**settings)
    add_admin(memory, "select_final_grade")
    # The permission to view is enough; the permission to grade is not needed.
    memory.enroll(TA1, "Ta", permissions={"manage_grades": False})
    memory.enroll(TEACHER, "Teacher", permissions={"view_all_grades": False})
    assert can_view_grader_names(memory.courses[1001], memory.assignments[ESSAY], viewer) is before
    memory.publish()
    assert can_view_grader_names(memory.courses[1001], memory.assignments[ESSAY], viewer) is after


@pytest.mark.parametrize(
    ("shared", "readers"), [(True, {FINAL_GRADER, ADMIN, TA1, TEACHER}), (False, {FINAL_GRADER, ADMIN})]
)
def test_grader_comments_are_visible_to_moderators_and_by_setting_to_graders(shared: bool, readers: set[int]) -> None:
    memory = moderated_course(grader_comments_visible_to_graders=shared)
    add_admin(memory, "select_final_grade")
    everybody = (FINAL_GRADER, ADMIN, TA1, TEACHER, ANN, STRANGER)
    course, assignment = memory.courses[1001], memory.assignments[ESSAY]
    assert {user for user in everybody if can_view_grader_comments(course, assignment, user)} == readers


@pytest.mark.parametrize(
    ("shared", "user", "texts"),
    [
        (True, FINAL_GRADER, ["sorry", "hello"]),
        (False, FINAL_GRADER, ["sorry", "hello"]),
        (False, ADMIN, ["sorry", "hello"]),
        (True, TA3, ["sorry", "hello"]),
        (True, TA1, ["sorry", "hello"]),
        (False, TA3, ["sorry"]),
        (False, TA1, ["sorry"]),
        (False, TEACHER, ["sorry", "hello"]),
        (True, ANN, ["sorry"]),
    ],
)
def test_submission_comments_before_publication_are_the_ordinary_ones(
    shared: bool, user: int, texts: list[str]
) -> None:
    memory = course_with_comments(grader_comments_visible_to_graders=shared)
    add_admin(memory, "select_final_grade")
    assert comment_texts(view_submission(memory, user)) == texts
    # An LMS grade by a grader who is now marking again does not publish the grader's comments.
    stated = {"score": Decimal(3), "grade": "3", "grader_id": TA1}
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields=stated))
    assert comment_texts(view_submission(memory, user)) == texts


@pytest.mark.parametrize(
    ("shared", "user", "texts"),
    [
        (True, FINAL_GRADER, [["by TA1"], ["by TA2"], ["by the final grader"]]),
        (False, ADMIN, [["by TA1"], ["by TA2"], ["by the final grader"]]),
        (False, TA2, [["by TA2"]]),
        (True, TA3, []),
    ],
)
def test_provisional_comments_are_shown_with_their_provisional_grade_among_the_ordinary_ones_by_time(
    shared: bool, user: int, texts: list[list[str]]
) -> None:
    memory = course_with_comments(grader_comments_visible_to_graders=shared)
    add_admin(memory, "select_final_grade")
    shown = view_submission(memory, user)["provisional_grades"]
    later = ["hello"] if shared or user == ADMIN else []
    assert [comment_texts(grade) for grade in shown] == [["sorry", *own, *later] for own in texts]
    times = [[comment["created_at"] for comment in grade["submission_comments"]] for grade in shown]
    assert times == [sorted(row) for row in times]


def test_comment_of_the_lms_stands_at_the_time_that_it_states() -> None:
    memory = moderated_course()
    memory.grade(TA1, ANN, 5, comment="by TA1")
    for text, created_at in (("a day before", START - timedelta(1)), ("two days before", START - timedelta(2))):
        memory.expect_accepted(
            commands.RecordSubmissionComment(student_id=ANN, author_id=ANN, comment=text, created_at=created_at)
        )

    (grade,) = view_submission(memory, TA1)["provisional_grades"]

    assert comment_texts(grade) == ["two days before", "a day before", "by TA1"]


@pytest.mark.parametrize(
    ("posted", "user", "texts"),
    [
        # TA1's grade was selected: there is an ordinary copy of the comment.
        (False, FINAL_GRADER, ["sorry", "hello", "by TA1"]),
        (False, TA3, ["sorry", "by TA1"]),
        (False, TA2, ["sorry", "by TA1"]),
        (False, ANN, ["sorry"]),
        (True, ANN, ["sorry", "hello", "by TA1"]),
    ],
)
def test_publication_copies_only_the_comments_of_the_selected_grades(posted: bool, user: int, texts: list[str]) -> None:
    memory = course_with_comments(grader_comments_visible_to_graders=False)
    memory.publish()
    if posted:
        post_grades(memory)
    shown = view_submission(memory, user)
    assert sorted(comment_texts(shown)) == sorted(texts)
    assert len({comment["id"] for comment in shown["submission_comments"]}) == len(texts)


def test_chosen_grade_lists_its_comments_and_their_public_copies_after_publication_as_in_canvas() -> None:
    memory = course_with_comments()
    memory.publish()
    chosen, *others = view_submission(memory, FINAL_GRADER)["provisional_grades"]
    assert sorted(comment_texts(chosen)) == ["by TA1", "by TA1", "hello", "sorry"]
    assert [comment_texts(other).count("by TA1") for other in others] == [1, 1]


def test_unauthorized_user_cannot_read_comments_of_others() -> None:
    memory = course_with_comments()
    for user in (BEN, STRANGER):
        assert view_as(memory, user).submission_json(ANN, COMMENTS) == view_as(memory, user).list_submission_students()


@pytest.mark.parametrize(
    ("settings", "user", "named"),
    [
        ({}, TA1, True),
        ({"graders_anonymous_to_graders": True}, TA1, False),
        ({"graders_anonymous_to_graders": True}, FINAL_GRADER, True),
        ({"grader_names_visible_to_final_grader": False}, FINAL_GRADER, False),
    ],
)
def test_anonymous_grader_is_anonymous_in_every_view(settings: Json, user: int, named: bool) -> None:
    memory = course_with_comments(**settings)
    name = commands.UserUpsert(user_id=TA1, fields={"name": "Tom Thumb", "short_name": "Tom"})
    memory.expect_accepted(commands.UpsertUsers(users=(name,)))
    add_ordinary_comment(memory, TA1, "also by TA1")
    shown = view_submission(memory, user)
    first = shown["provisional_grades"][0]
    line = next(comment for comment in first["submission_comments"] if comment["comment"] == "by TA1")
    anonymous_id = memory.assignments[ESSAY].grader_slots[TA1]
    # Graders see their own name and their own anonymous id.
    own_name = {"author_name": "Tom"} if user == TA1 else {}
    author = {"author_id": TA1, "author_name": "Tom"} if named else {"anonymous_id": anonymous_id, **own_name}
    assert {key: line[key] for key in ("author_id", "author_name", "anonymous_id") if key in line} == author
    assert first.get("scorer_id") == (TA1 if named else None)
    assert first.get("anonymous_grader_id") == (None if named else anonymous_id)
    assert ("rubric_assessments" in first) is named
    ordinary = next(c for c in shown["submission_comments"] if c["comment"] == "also by TA1")
    assert (ordinary["author_name"] == "Tom") is (named or user == TA1)


def test_ordinary_comment_has_the_fields_of_canvas() -> None:
    memory = course_with_comments()
    name = commands.UserUpsert(user_id=ANN, fields={"name": "Ann Archer", "short_name": "Ann"})
    memory.expect_accepted(commands.UpsertUsers(users=(name,)))
    line = view_submission(memory, TA1)["submission_comments"][0]
    assert set(line) == {"id", "comment", "created_at", "edited_at", "attempt", "author_id", "author_name", "author"}
    assert (line["author_id"], line["author_name"], line["author"]["display_name"]) == (ANN, "Ann", "Ann")
    line = view_submission(memory, TA1)["provisional_grades"][0]["submission_comments"][0]
    assert set(line) == {
        "id", "comment", "created_at", "attempt", "draft", "publishable", "group_comment_id", "media_comment_id",
        "media_comment_type", "cached_attachments", "author_id", "author_name",
    }  # fmt: skip


@pytest.mark.parametrize("user", [FINAL_GRADER, TA1, ADMIN])
def test_authors_are_unreadable_while_students_are_hidden(user: int) -> None:
    memory = course_with_comments(anonymous_grading=True)
    add_admin(memory, "select_final_grade")
    memory.enroll(PARENT, "Observer")
    add_ordinary_comment(memory, PARENT, "my child")
    add_ordinary_comment(memory, user, "mine")
    anonymous_id = memory.get_submission(ANN)["anonymous_id"]
    shown = view_anonymous_submission(memory, user, anonymous_id)
    for line in shown["submission_comments"]:
        readable = line["comment"] == "mine"
        assert (line["author_id"], line["author"] != {}) == ((user, True) if readable else (None, False))
        assert readable or line["author_name"] == "Anonymous User"
    authors = {
        line["comment"]: (line.get("author_id"), line.get("anonymous_id"))
        for line in shown["provisional_grades"][0]["submission_comments"]
    }
    assert authors["sorry"] == (None, anonymous_id)
    assert authors["my child"] == (None, None)
    assert authors["by TA1"] == (TA1, None)


def test_student_sees_comment_authors_after_posting() -> None:
    memory = course_with_comments(graders_anonymous_to_graders=True)
    memory.publish()
    post_grades(memory)
    lines = view_submission(memory, ANN)["submission_comments"]
    assert {line["author_id"] for line in lines} == {ANN, TEACHER, TA1}
