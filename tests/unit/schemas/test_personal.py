"""Every free text of the contracts is declared personal or public, and stored events contain no personal text."""

from typing import Any, cast, get_args

import pytest
from pydantic import BaseModel

from schemas import commands as wire
from schemas.domain_events import EVENTS
from schemas.personal import PUBLIC_TEXTS, find_personal_fields, find_undeclared_texts
from schemas.verdicts import Result, Verdict
from services.commands.parse import ParsedCommand, parse
from services.commands.sealing import find_persons
from services.eventlog.personal_fields import put_back, take_out
from tests.fixtures.command_samples import DATA, build_command, encode

COMMAND_DATA: dict[str, type[BaseModel]] = {
    get_args(command.model_fields["type"].annotation)[0]: cast(type[BaseModel], command.model_fields["data"].annotation)
    for command in get_args(wire.Command)
}
PAYLOADS = {name: cast(type[BaseModel], model.model_fields["payload"].annotation) for name, model in EVENTS.items()}
RESULTS = [result for result in get_args(Result) if isinstance(result, type) and issubclass(result, BaseModel)]


@pytest.mark.parametrize("name", [*COMMAND_DATA, *PAYLOADS])
def test_every_free_text_is_declared_personal_or_public(name: str) -> None:
    assert find_undeclared_texts((COMMAND_DATA | PAYLOADS)[name]) == set()


def test_new_text_without_a_declaration_is_found() -> None:
    class Row(BaseModel):
        note: str | None = None

    class Event(BaseModel):
        reason: str
        rows: list[Row]
        anything: dict[str, Any]

    assert find_undeclared_texts(Event) == {"Event.reason", "Event.anything", "Row.note"}


def test_verdicts_contain_no_personal_data() -> None:
    assert find_undeclared_texts(Verdict) == set()
    assert [field for model in (Verdict, *RESULTS) for field in find_personal_fields(model)] == []


def test_texts_declared_public_exist() -> None:
    models: list[type[BaseModel]] = [*COMMAND_DATA.values(), *PAYLOADS.values(), *RESULTS, Verdict]
    known = {f"{model.__name__}.{field}" for model in models for field in model.model_fields}
    nested = {
        *("AdjudicatedStudent.score", "MarkComparison.distance", "MarkComparison.limit", "PlannedGrade.grade"),
        *("FieldError.path", "FieldError.message", "Admin.permissions", "Enrollment.permissions"),
    }
    assert PUBLIC_TEXTS - known - nested == set()


@pytest.mark.parametrize("name", COMMAND_DATA)
def test_content_hash_of_a_command_with_personal_data_is_keyed(name: str) -> None:
    parsed = parse(encode(build_command(name)))
    assert isinstance(parsed, ParsedCommand)
    assert bool(find_persons(parsed.command)) == bool(find_personal_fields(COMMAND_DATA[name]))


def test_grade_without_comment_needs_no_key() -> None:
    bare = {name: value for name, value in DATA["record_provisional_grade"].items() if name in ("student_id", "score")}
    parsed = parse(encode(build_command(data=bare)))
    assert isinstance(parsed, ParsedCommand)
    assert find_persons(parsed.command) == frozenset()


def test_personal_values_are_taken_out_by_person_and_put_back() -> None:
    def users() -> dict[str, Any]:
        return {"users": [{"user_id": "1", "name": "A", "login_id": None}, {"user_id": "2", "name": "B"}]}

    payload = users()
    values = take_out("users_updated", payload, None)
    assert values == {1: ["A", None], 2: ["B"]}
    assert payload == {"users": [{"user_id": "1", "name": None, "login_id": None}, {"user_id": "2", "name": None}]}
    put_back("users_updated", payload, None, {2: ["B"]})
    assert [row["name"] for row in payload["users"]] == [None, "B"]
    put_back("users_updated", payload, None, values)
    assert payload == users()


def test_changed_rubric_assessment_keeps_its_form() -> None:
    payload: dict[str, Any] = {"id": "1", "rubric_assessment": [None, {"a": {"comments": "Good."}}]}
    assert take_out("provisional_grade_updated", payload, 31) == {31: [None, {"a": {"comments": "Good."}}]}
    assert payload == {"id": "1", "rubric_assessment": [None, None]}
    PAYLOADS["provisional_grade_updated"].model_validate({**payload, "rubric_assessment": (None, None)})
