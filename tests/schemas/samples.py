"""A command of every type with every field stated, and ways to change one."""

import json
from typing import Any

Json = dict[str, Any]
COMMAND_ID = "01930000-0000-7000-8000-000000000001"
TIME = "2026-01-31T12:00:00Z"
SCHEME: list[Any] = [["A", 0.9], ["B", 0.8], ["F", 0]]

COURSE_DATA: dict[str, Json] = {
    "upsert_course": {
        "name": "Course", "sis_source_id": "S-1", "account_id": 9, "root_account_uuid": "u",
        "root_account_lti_guid": "g", "grading_scheme": SCHEME,
    },
    "upsert_users": {
        "users": [{
            "user_id": 31, "name": "Ada", "sortable_name": "Ada", "short_name": "A", "sis_user_id": "s",
            "login_id": "l", "created_at": TIME,
        }]
    },
    "upsert_enrollments": {
        "enrollments": [{
            "user_id": 31, "type": "TaEnrollment", "state": "active", "section_id": 5, "limited_to_section": True,
            "permissions": {"manage_grades": False, "view_all_grades": True, "select_final_grade": None},
        }]
    },
    "upsert_admins": {"admins": [{"user_id": 1, "permissions": ["manage_grades", "view_audit_trail"]}]},
}  # fmt: skip
ASSIGNMENT_DATA: dict[str, Json] = {
    "configure_assignment": {
        "name": "Essay", "points_possible": 10, "grading_type": "letter_grade", "grading_scheme": SCHEME,
        "moderated_grading": True, "grader_count": 2, "final_grader_id": 11, "anonymous_grading": False,
        "graders_anonymous_to_graders": False, "grader_names_visible_to_final_grader": True,
        "grader_comments_visible_to_graders": True, "moderation_set": "assigned", "assigned_to": [31], "deleted": False,
    },
    "record_submission": {
        "student_id": 31, "submission_id": 501, "anonymous_id": "aBcDe", "attempt": 1, "submitted_at": TIME,
        "score": 7.5, "grade": "B", "grader_id": 21, "graded_at": TIME, "excused": False, "posted_at": TIME,
    },
    "record_submission_comment": {"student_id": 31, "author_id": 21, "comment": "Good.", "created_at": TIME},
    "post_grades": {"student_ids": [31, 32], "posted_at": TIME},
    "hide_grades": {"student_ids": [31, 32]},
}  # fmt: skip
MODERATION_DATA: dict[str, Json] = {
    "record_provisional_grade": {
        "student_id": 31, "posted_grade": "7", "score": 7, "excuse": False, "final": False, "graded_anonymously": True,
        "comment": "Good.", "rubric_assessment": {"criterion": {"points": 7, "comments": "Clear.", "tags": ["a"]}},
    },
    "record_provisional_comment": {"student_id": 31, "comment": "Good.", "final": False},
    "select_students_for_moderation": {"student_ids": [31, 32]},
    "select_provisional_grade": {"provisional_grade_id": 7340033},
    "bulk_select_provisional_grades": {"provisional_grade_ids": [7340033, 7340034]},
    "publish_provisional_grades": {},
}  # fmt: skip
DATA = {**COURSE_DATA, **ASSIGNMENT_DATA, **MODERATION_DATA}


def build_command(kind: str = "record_provisional_grade", **changes: Any) -> Json:
    """A command of that type; ``changes`` replace parts of the envelope."""
    made: Json = {
        "command_id": COMMAND_ID,
        "type": kind,
        "version": 1,
        "issued_at": TIME,
        "root_account_id": "1",
        "course_id": "1001",
        "actor": {"user_id": "21"},
        "correlation_id": "c-1",
        "data": DATA[kind],
    }
    if kind not in COURSE_DATA:
        made["assignment_id"] = "2001"
    return {**made, **changes}


def replace_field(whole: Json, path: str, text: str) -> bytes:
    """The command with raw JSON text at a path such as ``data.users.0.name``."""
    changed = json.loads(json.dumps(whole))
    *above, last = path.split(".")
    node = changed
    for part in above:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node[int(last) if isinstance(node, list) else last] = "the hole"
    return json.dumps(changed).replace('"the hole"', text).encode()


def remove_field(whole: Json, path: str) -> bytes:
    """The command without the field at a path."""
    changed = json.loads(json.dumps(whole))
    *above, last = path.split(".")
    node = changed
    for part in above:
        node = node[int(part)] if isinstance(node, list) else node[part]
    del node[last]
    return json.dumps(changed).encode()


def encode(whole: Json) -> bytes:
    """The command as a record's value."""
    return json.dumps(whole).encode()
