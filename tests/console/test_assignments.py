"""What the console says of an assignment: rows, and what differs between two states."""

from typing import Any

from services.console.masking import mask
from services.console.state_diff import CHANGES_MAX, Change, build_student_rows, find_changes

Json = dict[str, Any]


def document(**changed: Any) -> Json:
    grade: Json = {
        "provisional_grade_id": 5,
        "student_id": 31,
        "scorer_id": 21,
        "score": 8,
        "grade": "8",
        "final": False,
        "submission_comments": [{"author_id": 21, "comment": "Zadie, look here", "created_at": "t"}],
    }
    submission: Json = {
        "student_id": 31,
        "workflow_state": "submitted",
        "excused": False,
        "grade": None,
        "posted_at": None,
    }
    return {
        "version": 7,
        "settings": {"name": "Essay", "grader_count": 2},
        "moderation_set": [{"student_id": 31, "selected_provisional_grade_id": 5}],
        "moderation_graders": [],
        "provisional_grades": [{**grade, **changed.pop("grade", {})}],
        "submissions": [{**submission, **changed.pop("submission", {})}],
        **changed,
    }


def test_a_student_has_one_row_with_every_mark_and_the_chosen_one_ticked() -> None:
    (row,) = build_student_rows(document())
    (mark,) = row.grade_cells
    assert (row.student_id, row.in_moderation_set, row.state, row.grade) == (31, True, "submitted", None)
    assert (mark.scorer_id, mark.grade, mark.is_selected, mark.comment_count) == (21, "8", True, 1)


def test_equal_states_differ_in_nothing() -> None:
    assert find_changes(document(), document()) == []


def test_a_change_is_named_by_what_it_is_of_and_not_by_where_it_stands_in_a_list() -> None:
    after = document(version=8, grade={"grade": "9", "score": 9}, submission={"grade": "9"})
    assert find_changes(document(), after) == [
        Change("version", "7", "8"),
        Change("provisional_grades.[5].score", "8", "9"),
        Change("provisional_grades.[5].grade", "8", "9"),
        Change("submissions.[31].grade", None, "9"),
    ]


def test_a_comment_is_told_by_its_length_alone() -> None:
    found = find_changes(document(grade={"submission_comments": []}), document())
    assert found == [Change("provisional_grades.[5].submission_comments", "", "16 characters by 21")]
    assert "Zadie" not in str(find_changes(None, document()))


def test_of_many_changes_one_more_is_found_than_is_shown() -> None:
    many = document(submissions=[{"student_id": n, "grade": "1"} for n in range(1_000)])
    assert len(find_changes(document(), many)) == CHANGES_MAX + 1


def test_a_masked_record_keeps_its_shape_and_our_own_names_and_no_content() -> None:
    value = (
        '{"type": "upsert_users", "data": {"users": [{"name": "Zoë O\'Hara", "login_id": "zoe7"}]}} 學生 👩'.encode()
    )
    shown = mask(value + b"\xff")
    assert shown == '{"type": "upsert_users", "data": {"users": [{"name": "xxx x\'xxxx", "login_id": "xxx9"}]}} xx •�'
    assert mask(b"x" * 5_000).endswith("x … 904 more bytes")
    assert mask(None) == ""
