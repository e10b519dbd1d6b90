"""A published default is what the service takes for a field that is left out; other fields publish none."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.catalog import get_topic_messages
from services.commands.parse import ParsedCommand, parse
from tests.fixtures.command_samples import build_command, remove_field, replace_field

Json = dict[str, Any]


def find_defaults(node: Json, whole: Json, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field with a default by its path in a command, such as ``data.users.0.name``."""
    if path and "default" in node:
        yield path, node["default"]
    if "$ref" in node:
        yield from find_defaults(whole["$defs"][node["$ref"].rpartition("/")[2]], whole, path)
    for choice in node.get("anyOf", ()):
        yield from find_defaults(choice, whole, path)
    for name, schema in node.get("properties", {}).items():
        yield from find_defaults(schema, whole, f"{path}.{name}" if path else name)
    if isinstance(node.get("items"), dict):
        yield from find_defaults(node["items"], whole, f"{path}.0")


DEFAULTS = [
    (message.name, path, default)
    for message in get_topic_messages("commands")
    for path, default in find_defaults(message.value or {}, message.value or {})
]


@pytest.mark.parametrize(("kind", "path", "default"), DEFAULTS, ids=lambda value: str(value))
def test_published_default_is_taken_for_a_field_that_is_left_out(kind: str, path: str, default: Any) -> None:
    stated = parse(replace_field(build_command(kind), path, json.dumps(default)))
    left_out = parse(remove_field(build_command(kind), path))
    assert isinstance(stated, ParsedCommand), stated
    assert isinstance(left_out, ParsedCommand), left_out
    assert left_out.command == stated.command


def test_defaults_are_found_in_the_envelope_and_in_nested_objects() -> None:
    paths = {path for kind, path, _ in DEFAULTS if kind == "configure_assignment"}
    assert {"version", "data.adjudication.marks", "data.adjudication.rounding.step"} <= paths
