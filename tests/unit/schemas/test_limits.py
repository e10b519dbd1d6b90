"""Each limit of the contract: a value at the limit is accepted, one beyond it is refused by name."""

import json
from decimal import Decimal
from typing import Any

import pytest

from services.commands.parse import InvalidCommand, ParsedCommand, UnreadableRecord, parse
from tests.fixtures.command_samples import DATA, build_command, encode, remove_field, replace_field

GRADE, COMMENT, USERS, COURSE = (
    "record_provisional_grade",
    "record_provisional_comment",
    "upsert_users",
    "upsert_course",
)
ASSIGNMENT, SUBMISSION, ENROLLMENTS = "configure_assignment", "record_submission", "upsert_enrollments"


def text(characters: int) -> str:
    return json.dumps("x" * characters)


def ids(count: int) -> str:
    return json.dumps(list(range(1, count + 1)))


def rows(count: int, row: Any) -> str:
    return json.dumps([row] * count)


def keys(count: int) -> str:
    return json.dumps({f"k{number}": number for number in range(count)})


LIMITS = [
    *((kind, path, text(255), text(256)) for kind, path in [
        (COURSE, "data.name"), (ASSIGNMENT, "data.name"), (USERS, "data.users.0.name"),
        (USERS, "data.users.0.sortable_name"), (USERS, "data.users.0.short_name"), (GRADE, "data.posted_grade"),
        (SUBMISSION, "data.grade"), (SUBMISSION, "data.anonymous_id"), (COURSE, "data.grading_scheme.0.0"),
    ]),
    *((kind, path, text(1024), text(1025)) for kind, path in [
        (COURSE, "data.sis_source_id"), (COURSE, "data.root_account_uuid"), (COURSE, "data.root_account_lti_guid"),
        (USERS, "data.users.0.sis_user_id"), (USERS, "data.users.0.login_id"),
        ("upsert_admins", "data.admins.0.permissions.0"),
    ]),
    *((kind, "data.comment", text(65_536), text(65_537)) for kind in (GRADE, COMMENT, "record_submission_comment")),
    (GRADE, "correlation_id", text(200), text(201)),
    *((kind, path, ids(10_000), ids(10_001)) for kind, path in [
        (ASSIGNMENT, "data.assigned_to"), ("post_grades", "data.student_ids"), ("hide_grades", "data.student_ids"),
        ("select_students_for_moderation", "data.student_ids"),
        ("bulk_select_provisional_grades", "data.provisional_grade_ids"),
    ]),
    (USERS, "data.users", rows(10_000, {"user_id": 1}), rows(10_001, {"user_id": 1})),
    (ENROLLMENTS, "data.enrollments", *(rows(n, {"user_id": 1, "type": "TaEnrollment"}) for n in (10_000, 10_001))),
    ("upsert_admins", "data.admins", *(rows(n, {"user_id": 1, "permissions": []}) for n in (10_000, 10_001))),
    ("upsert_admins", "data.admins.0.permissions", rows(10_000, "p"), rows(10_001, "p")),
    (COURSE, "data.grading_scheme", *(json.dumps([["A", n / 10_000] for n in range(k)]) for k in (10_000, 10_001))),
    (GRADE, "data.rubric_assessment", keys(10_000), keys(10_001)),
    (GRADE, "data.rubric_assessment", '{"a":' + text(65_536) + "}", '{"a":' + text(65_537) + "}"),
    *((kind, "data.score", taken, refused) for kind in (GRADE, SUBMISSION) for taken, refused in [
        ("1000000000", "1000000001"), ("-1000000000", "-1000000001"), ("1e9", "1.0000001e9"), ("-0.0", '"7"'),
        ("1e-400", "1e400"), ("0.1", "true"), ("null", "NaN"), ("null", "-Infinity"), ("7", "[7]"),
    ]),
    (ASSIGNMENT, "data.points_possible", "1000000000", "1000000001"),
    (ASSIGNMENT, "data.points_possible", "0", "-0.5"),
    (ASSIGNMENT, "data.grader_count", "0", "-1"),
    (ASSIGNMENT, "data.grader_count", "2147483647", "2147483648"),
    (ASSIGNMENT, "data.grader_count", "2", "2.0"),
    *((GRADE, path, taken, refused) for path in ("root_account_id", "assignment_id", "actor.user_id", "data.student_id")
      for taken, refused in [
        ("9223372036854775807", "9223372036854775808"), ('"9223372036854775807"', '"9223372036854775808"'),
        ("1", "0"), ('"1"', '"0"'), ('"42"', '"0042"'), ('"42"', '" 42"'), ('"42"', '"42\\n"'), ('"42"', '"+42"'),
        ('"10"', '"1_0"'), ('"12"', '"\uff11\uff12"'), ("7", "-7"), ("7", "7.0"), ("7", "7e0"), ("7", "true"),
        ("7", '""'), ("7", "9" * 5000), ("7", '"' + "9" * 20 + '"'), ("7", "{}"),
    ]),
    *((GRADE, "issued_at", taken, refused) for taken, refused in [
        ('"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00"'), ('"2026-01-01T00:00:59Z"', '"2026-01-01T00:00:60Z"'),
        ('"2026-12-01T00:00:00Z"', '"2026-13-01T00:00:00Z"'), ('"0001-01-01T00:00:00Z"', '"0000-01-01T00:00:00Z"'),
        ('"2028-02-29T00:00:00Z"', '"2027-02-29T00:00:00Z"'), ('"2026-01-01T23:59:59+14:00"', '"2026-01-01"'),
        ('"2026-01-01t00:00:00.123456789z"', '"2026-01-01 00:00:00Z"'),
        ('"2026-01-01T00:00:00-00:00"', '"20260101T00Z"'),
        ('"2026-01-01T00:00:00+23:59"', '"2026-01-01T00:00:00+24:00"'),
        ('"9999-12-31T23:59:59Z"', '"9999-12-31T23:59:59-00:01"'),
        ('"2026-01-01T23:59:59Z"', '"2026-01-01T24:00:00Z"'), ('"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00Z\\n"'),
        ('"2026-01-01T00:00:00Z"', "1767225600"),
        (f'"2026-01-01T00:00:00.{"1" * 100}Z"', f'"2026-01-01T00:00:00.{"1" * 101}Z"'),
    ]),
    (GRADE, "version", "1", "0"), (GRADE, "version", "1", "true"), (GRADE, "version", "1", "1.0"),
    (GRADE, "version", "1", "null"), (GRADE, "version", "1", '"1"'),
    (GRADE, "actor", '{"user_id": 21}', "21"), (GRADE, "actor", "null", '{"user_id": 21, "name": "x"}'),
    (GRADE, "correlation_id", '"\u00e9 \\ud83d\\ude00"', '"a\\r\\nce_type: x"'),
    (GRADE, "correlation_id", '""', '"a\\u0085"'),
    (GRADE, "data.final", "false", "0"), (GRADE, "data.excuse", "null", '"yes"'),
    (GRADE, "data.rubric_assessment", "{}", "[]"), (GRADE, "data.rubric_assessment", "null", '"x"'),
    (GRADE, "data.rubric_assessment", '{"a": 9223372036854775807}', '{"a": 9223372036854775808}'),
    (ENROLLMENTS, "data.enrollments.0.type", '"ObserverEnrollment"', '"Observer"'),
    (ENROLLMENTS, "data.enrollments.0.state", '"completed"', '"concluded"'),
    (ENROLLMENTS, "data.enrollments.0.permissions", '{"manage_grades": true}', '{"manage": true}'),
    (ASSIGNMENT, "data.moderation_set", '"selected"', '"all"'),
    (ASSIGNMENT, "data.grading_type", '"gpa_scale"', '"stars"'),
    (COURSE, "data.grading_scheme", '[["A", 0]]', '[["A"]]'),
    (COURSE, "data.grading_scheme", '[["A", 0]]', '[["A", 0, 1]]'),
    *((kind, "data.grading_scheme", taken, refused) for kind in (COURSE, ASSIGNMENT) for taken, refused in [
        ('[["A+", 1.05], ["F", 0]]', '[["A", 94], ["F", 0]]'), ('[["A", 10], ["F", 0]]', '[["A", 10.01], ["F", 0]]'),
        ('[["F", 0], ["A", 0.9]]', '[["F", 0.5], ["A", 0.9]]'), ('[["4.0", 0.9], ["0.0", 0]]', '[["4.0", 0.9]]'),
        ('[["A", 0.9], ["B", 0.8], ["F", 0]]', '[["A", 0.9], ["B", 0.90], ["F", 0]]'),
        ('[["A", 0.9], ["F", -0.0]]', '[["A", 0.9], ["E", -0.1], ["F", 0]]'), ('[["A", 0]]', '[["", 0.9], ["F", 0]]'),
        ('[["A B", 0]]', '[["A ", 0.9], ["F", 0]]'), ('[["A", 0]]', '[["\\u00a0", 0]]'), ("null", "[]"),
    ]),
    (ASSIGNMENT, "data.points_possible", "1e-9", "1e-10"),
    *((COURSE, f"data.late_policy.late_submission_{field}", taken, refused)
      for field in ("deduction", "minimum_percent") for taken, refused in [
        ("0", "-0.01"), ("100", "100.01"), ("33.333", '"33"'), ("1e-9", "null"), ("2", "true"), ("2.5", "NaN"),
    ]),
    (COURSE, "data.late_policy.late_submission_interval", '"hour"', '"week"'),
    (COURSE, "data.late_policy.late_submission_interval", '"day"', "null"),
    (COURSE, "data.late_policy.late_submission_deduction_enabled", "false", "0"),
    (COURSE, "data.late_policy.late_submission_minimum_percent_enabled", "true", "null"),
    (COURSE, "data.late_policy", "null", "[]"),
    (COURSE, "data.late_policy", "{}", '{"missing_submission_deduction": 10}'),
    (SUBMISSION, "data.seconds_late", "0", "-1"), (SUBMISSION, "data.seconds_late", "2147483647", "2147483648"),
    (SUBMISSION, "data.seconds_late", "60", "60.5"), (SUBMISSION, "data.seconds_late", "null", '"60"'),
    (SUBMISSION, "data.late_policy_status", '"extended"', '"excused"'),
    (SUBMISSION, "data.late_policy_status", "null", '""'),
    (SUBMISSION, "data.anonymous_id", '"aB3"', '"a b"'), (SUBMISSION, "data.attempt", "0", "-1"),
    ("select_students_for_moderation", "data.student_ids", '[31, "32"]', '[31, null, "x"]'),
    ("publish_provisional_grades", "data", "{}", "[]"), ("publish_provisional_grades", "data", "{}", "null"),
]  # fmt: skip


def error_path(path: str) -> str:
    """Convert ``data.users.0.name`` to the form of errors: ``data.users[0].name``."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".")).removeprefix(".")


@pytest.mark.parametrize(
    ("kind", "path", "taken", "refused"),
    LIMITS,
    ids=[f"{kind}-{path}-{refused[:30]!a}" for kind, path, _, refused in LIMITS],
)
def test_value_at_the_limit_is_accepted_and_value_beyond_is_rejected(
    kind: str, path: str, taken: str, refused: str
) -> None:
    accepted = parse(replace_field(build_command(kind), path, taken))
    assert isinstance(accepted, ParsedCommand), accepted
    beyond = parse(replace_field(build_command(kind), path, refused))
    if refused in ("NaN", "-Infinity"):
        assert beyond == UnreadableRecord(
            "not_json", "the value is not one JSON object (RFC 8259, UTF-8, no byte order mark)"
        )
        return
    assert isinstance(beyond, InvalidCommand)
    paths = [error["path"] for error in beyond.errors]
    assert paths, beyond
    assert all(found.startswith(error_path(path)) for found in paths), paths


def strings(node: Any, path: str) -> list[str]:
    """Yield the paths of all texts in a value."""
    if isinstance(node, str):
        return [path]
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for name, part in inner for found in strings(part, f"{path}.{name}")]


@pytest.mark.parametrize(
    ("kind", "path"), [(kind, path) for kind in DATA for path in ["correlation_id", *strings(DATA[kind], "data")]]
)
def test_nul_character_is_rejected_in_every_text(kind: str, path: str) -> None:
    refused = parse(replace_field(build_command(kind), path, '"a\\u0000b"'))
    assert isinstance(refused, InvalidCommand)
    assert not any("\x00" in error["path"] + error["message"] for error in refused.errors)


def test_nul_character_is_rejected_in_nested_rubric_keys() -> None:
    assert isinstance(
        parse(replace_field(build_command(), "data.rubric_assessment", '{"a": [{"b\\u0000": 1}]}')), InvalidCommand
    )


@pytest.mark.parametrize("kind", DATA)
def test_command_accepts_all_known_fields_and_rejects_unknown_ones(kind: str) -> None:
    taken = parse(encode(build_command(kind)))
    assert isinstance(taken, ParsedCommand)
    assert taken.command.type == kind
    for path in ("surprise", "data.surprise"):
        refused = parse(replace_field(build_command(kind), path, "1"))
        assert isinstance(refused, InvalidCommand)
        assert refused.errors == [{"path": path, "message": "this field is unknown: remove it"}]


REQUIRED = [
    *((kind, path) for kind in DATA for path in ("issued_at", "root_account_id", "course_id", "data", "type")),
    (GRADE, "assignment_id"), (SUBMISSION, "assignment_id"), ("publish_provisional_grades", "assignment_id"),
    (GRADE, "actor.user_id"), (GRADE, "data.student_id"), (COMMENT, "data.student_id"), (COMMENT, "data.comment"),
    (SUBMISSION, "data.student_id"), ("record_submission_comment", "data.author_id"),
    ("record_submission_comment", "data.comment"), ("select_provisional_grade", "data.provisional_grade_id"),
    ("bulk_select_provisional_grades", "data.provisional_grade_ids"), (USERS, "data.users"),
    (USERS, "data.users.0.user_id"), (ENROLLMENTS, "data.enrollments.0.user_id"),
    (ENROLLMENTS, "data.enrollments.0.type"), ("upsert_admins", "data.admins.0.permissions"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "path"), REQUIRED)
def test_missing_required_field_is_reported(kind: str, path: str) -> None:
    refused = parse(remove_field(build_command(kind), path))
    assert isinstance(refused, InvalidCommand)
    assert [error["path"] for error in refused.errors] == [error_path(path)]


@pytest.mark.parametrize("path", ["version", "actor", "correlation_id", "data.score", "data.comment", "data.final"])
def test_optional_field_can_be_omitted(path: str) -> None:
    assert isinstance(parse(remove_field(build_command(), path)), ParsedCommand)


@pytest.mark.parametrize("data", [{}, {"student_ids": None}, {"student_ids": []}])
def test_parser_accepts_missing_student_ids(data: dict[str, Any]) -> None:
    taken = parse(encode(build_command("select_students_for_moderation", data=data)))
    assert isinstance(taken, ParsedCommand)
    assert taken.command.data.student_ids == ()  # type: ignore[union-attr]


def test_scores_are_parsed_exactly() -> None:
    taken = parse(replace_field(build_command(), "data.score", "0.1"))
    assert isinstance(taken, ParsedCommand)
    assert taken.command.data.score == Decimal("0.1")  # type: ignore[union-attr]


def test_ids_above_double_precision_are_preserved() -> None:
    for text_ in ("9007199254740993", '"9007199254740993"'):
        taken = parse(replace_field(build_command(), "course_id", text_))
        assert isinstance(taken, ParsedCommand)
        assert taken.command.course_id == 9007199254740993


@pytest.mark.parametrize("kind", [COURSE, ASSIGNMENT])
def test_scheme_in_percents_is_rejected_with_the_remedy(kind: str) -> None:
    command = build_command(kind, data={"grading_scheme": [["A", 94], ["B", 84], ["F", 0]]})
    refused = parse(encode(command))
    assert isinstance(refused, InvalidCommand)
    (error,) = refused.errors
    assert error["path"] == "data.grading_scheme"
    assert "send 0.94 for 94 %" in error["message"]
