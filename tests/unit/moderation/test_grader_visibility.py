"""Who is shown the names and comments of which graders."""

import json
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
    comment_texts,
    course_with_comments,
    post_grades,
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


@pytest.mark.parametrize("row", TABLES["sees_other_graders_comments"]["rows"], ids=lambda row: row["id"])
def test_grader_comment_visibility_matches_canvas(row: Json) -> None:
    given = dict(row["given"])
    viewer = VIEWERS[given.pop("viewer")]
    memory = moderated_course(moderated_grading=given.pop("moderated"), **given)
    add_admin(memory, "select_final_grade")
    seen = can_view_grader_comments(memory.courses[1001], memory.assignments[ESSAY], viewer)
    assert seen == row["then"]["sees_other_graders_comments"]


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
        # Whose comments are hidden is not named either, though graders are not anonymous.
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
    # Who may look is enough: nobody here needs the right to grade for it.
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
def test_comment_visibility_before_publication_matches_canvas(shared: bool, user: int, texts: list[str]) -> None:
    memory = course_with_comments(grader_comments_visible_to_graders=shared)
    add_admin(memory, "select_final_grade")
    assert comment_texts(view_submission(memory, user)) == texts
    # A grade of before, by somebody who marks again now, stands for no comment of theirs.
    stated = {"score": Decimal(3), "grade": "3", "grader_id": TA1}
    memory.expect_accepted(commands.RecordSubmission(student_id=ANN, fields=stated))
    assert comment_texts(view_submission(memory, user)) == texts


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
def test_published_comment_copies_replace_the_originals(posted: bool, user: int, texts: list[str]) -> None:
    memory = course_with_comments(grader_comments_visible_to_graders=False)
    memory.publish()
    if posted:
        post_grades(memory)
    shown = view_submission(memory, user)
    assert sorted(comment_texts(shown)) == sorted(texts)
    assert len({comment["id"] for comment in shown["submission_comments"]}) == len(texts)


def test_unauthorized_user_cannot_read_comments_of_others() -> None:
    memory = course_with_comments()
    for user in (BEN, STRANGER):
        assert view_as(memory, user).submission_json(ANN, COMMENTS) == view_as(memory, user).list_submission_students()


@pytest.mark.parametrize(
    ("settings", "user", "named"),
    [
        ({}, TA2, True),
        ({"graders_anonymous_to_graders": True}, TA2, False),
        # Nobody is anonymous to themselves.
        ({"graders_anonymous_to_graders": True}, TA1, True),
        ({"graders_anonymous_to_graders": True}, FINAL_GRADER, True),
        ({"grader_names_visible_to_final_grader": False}, FINAL_GRADER, False),
    ],
)
def test_anonymous_grader_is_anonymous_in_every_view(settings: Json, user: int, named: bool) -> None:
    memory = course_with_comments(**settings)
    memory.expect_accepted(commands.UpsertUsers(users=(commands.UserUpsert(user_id=TA1, fields={"name": "Tom"}),)))
    shown = view_submission(memory, user)
    line = next(c for c in shown["submission_comments"] if c["comment"] == "by TA1")
    anonymous_id = memory.assignments[ESSAY].grader_slots[TA1]
    if named:
        assert (line["author_id"], line["author_name"], "anonymous_id" in line) == (TA1, "Tom", False)
    else:
        assert (line["anonymous_id"], {"author_id", "author_name"} & line.keys()) == (anonymous_id, set())
    if user == FINAL_GRADER:
        first = shown["provisional_grades"][0]
        assert first.get("scorer_id") == (TA1 if named else None)
        assert first.get("anonymous_grader_id") == (None if named else anonymous_id)
        assert ("rubric_assessments" in first) is named


def test_student_sees_comment_authors_after_posting() -> None:
    memory = course_with_comments(graders_anonymous_to_graders=True)
    memory.publish()
    post_grades(memory)
    lines = view_submission(memory, ANN)["submission_comments"]
    assert all("author_id" in line for line in lines)
