"""Global ids of our own shard become local ids, in commands and tokens alike."""

import dataclasses
from typing import Any

import orjson
import pytest

from schemas.global_ids import to_local_id
from services.commands.global_ids import localize_ids
from services.commands.parse import InvalidCommand, ParsedCommand, parse

SHARD = 7414
BASE = SHARD * 10**13


def command(**changes: Any) -> dict[str, Any]:
    return {
        "command_id": "0198c0de-0000-7000-8000-000000000001",
        "type": "record_provisional_grade",
        "issued_at": "2026-01-31T12:00:00Z",
        "root_account_id": "1",
        "course_id": "1001",
        "assignment_id": "2001",
        "actor": {"user_id": "21"},
        "data": {"student_id": "31", "score": 8.5},
        **changes,
    }


@pytest.mark.parametrize(
    ("number", "local_id"),
    [
        (BASE + 31, 31),
        (31, 31),
        (BASE, BASE),
        (BASE + 10**13 + 31, BASE + 10**13 + 31),
        (BASE + 10**13 - 1, 10**13 - 1),
    ],
)
def test_only_a_global_id_of_the_shard_becomes_local(number: int, local_id: int) -> None:
    assert to_local_id(number, SHARD) == local_id
    assert to_local_id(number, None) == number


def test_command_with_global_ids_equals_the_command_with_local_ids() -> None:
    sent = command(
        root_account_id=BASE + 1,
        course_id=str(BASE + 1001),
        assignment_id=BASE + 2001,
        actor={"user_id": str(BASE + 21)},
        data={"student_id": BASE + 31, "score": 8.5},
    )
    localized = parse(localize_ids(orjson.dumps(sent), SHARD))
    assert localized == parse(orjson.dumps(command()))
    assert isinstance(localized, ParsedCommand)


def test_every_list_of_ids_is_localized_and_nothing_else() -> None:
    text = str(BASE + 31)
    rows = [{"user_id": text, "sis_user_id": text, "login_id": text, "name": text}]
    data = {"assigned_to": [text, BASE + 32], "student_ids": [text], "final_grader_id": text, "users": rows,
            "provisional_grade_ids": [text], "comment": text, "rubric_assessment": {"user_id": text}}  # fmt: skip
    value = localize_ids(orjson.dumps(command(data=data)), SHARD)
    assert value is not None
    assert orjson.loads(value)["data"] == {
        **data, "assigned_to": [31, 32], "student_ids": [31], "final_grader_id": 31,
        "users": [{"user_id": 31, "sis_user_id": text, "login_id": text, "name": text}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "number",
    [
        "1e400", "-1e400", "0.1000000000000000055", "1E2", "1.50", "-0", "-0.0", "100", "9007199254740993",
        "9" * 19, "1" + "0" * 24, "9" * 5_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("data", ['"score": %s', '"score": 1, "rubric_assessment": {"c": {"points": %s}}'])
def test_numbers_of_a_command_with_global_ids_mean_what_was_sent(data: str, number: str) -> None:
    def parse_with(course_id: int) -> object:
        sent = orjson.dumps(command(course_id=course_id, data={"student_id": "31"})).decode()
        value = sent.replace('"student_id":"31"', '"student_id":"31",' + data % number)
        parsed = parse(localize_ids(value.encode(), SHARD))
        # The content of an invalid command is what was sent, the form of ids included.
        return dataclasses.replace(parsed, content_hash=b"") if isinstance(parsed, InvalidCommand) else parsed

    assert parse_with(BASE + 1001) == parse_with(1001)


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"\xff74140000000000031", b'{"a":1,"a":74140000000000031}', b"[" * 9_999]
)
def test_value_that_is_not_a_command_is_unchanged(value: bytes | None) -> None:
    assert localize_ids(value, SHARD) == value


def test_without_a_shard_nothing_is_localized() -> None:
    value = orjson.dumps(command(course_id=BASE + 1001))
    assert localize_ids(value, None) is value
    assert localize_ids(value, SHARD + 1) is value
