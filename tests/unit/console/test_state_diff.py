"""Rows of an assignment and the differences between two of its states; masking of record contents."""

from typing import Any

from services.console.masking import mask
from services.console.state_diff import CHANGES_MAX, Change, build_student_rows, find_changes

Json = dict[str, Any]


def state_document(**changes: Any) -> Json:
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
        "provisional_grades": [{**grade, **changes.pop("grade", {})}],
        "submissions": [{**submission, **changes.pop("submission", {})}],
        **changes,
    }


def test_student_row_contains_every_grade_and_marks_the_selected_one() -> None:
    (row,) = build_student_rows(state_document())
    (cell,) = row.grade_cells
    assert (row.student_id, row.in_moderation_set, row.state, row.grade) == (31, True, "submitted", None)
    assert (cell.scorer_id, cell.grade, cell.is_selected, cell.comment_count) == (21, "8", True, 1)


def test_equal_states_have_no_changes() -> None:
    assert find_changes(state_document(), state_document()) == []


def test_setting_with_the_name_of_a_list_is_compared_as_a_setting() -> None:
    before, after = state_document(), state_document(version=8)
    before["settings"], after["settings"] = {"moderation_set": "assigned"}, {"moderation_set": "selected"}
    assert Change("settings.moderation_set", "assigned", "selected") in find_changes(before, after)
    assert find_changes(None, after)


def test_list_changes_are_identified_by_id_instead_of_index() -> None:
    after = state_document(version=8, grade={"grade": "9", "score": 9}, submission={"grade": "9"})
    assert find_changes(state_document(), after) == [
        Change("version", "7", "8"),
        Change("provisional_grades.[5].score", "8", "9"),
        Change("provisional_grades.[5].grade", "8", "9"),
        Change("submissions.[31].grade", None, "9"),
    ]


def test_comment_changes_show_only_the_length() -> None:
    changes = find_changes(state_document(grade={"submission_comments": []}), state_document())
    assert changes == [Change("provisional_grades.[5].submission_comments", "", "16 characters by 21")]
    assert "Zadie" not in str(find_changes(None, state_document()))


def test_state_diff_stops_at_one_change_beyond_the_limit() -> None:
    many = state_document(submissions=[{"student_id": n, "grade": "1"} for n in range(1_000)])
    assert len(find_changes(state_document(), many)) == CHANGES_MAX + 1


def test_masked_record_keeps_structure_and_field_names_but_no_content() -> None:
    value = (
        '{"type": "upsert_users", "data": {"users": [{"name": "Zoë O\'Hara", "login_id": "zoe7"}]}} 學生 👩'.encode()
    )
    masked = mask(value + b"\xff")
    assert masked == '{"type": "upsert_users", "data": {"users": [{"name": "xxx x\'xxxx", "login_id": "xxx9"}]}} xx •�'
    assert mask(b"x" * 5_000).endswith("x … 904 more bytes")
    assert mask(None) == ""
