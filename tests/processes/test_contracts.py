"""What holds every record against its contract sees a breach."""

import json
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas.generate import FOLDER
from tests.processes.contracts import find_breach, find_command_breach

TOPIC_OF_EXAMPLE = {
    "verdict": "verdicts",
    "grade_change": "live-events",
    "grade_event": "caliper",
    "grade_published": "events",
    "dead_letter": "dead-letters",
}


def build_record(name: str, **changes: Any) -> ConsumerRecord[Any, Any]:
    example = json.loads((FOLDER / f"examples/{name}.json").read_text())
    headers = {**example["headers"], **changes.pop("headers", {})}
    value = json.dumps({**example["payload"], **changes} if changes else example["payload"]).encode()
    pairs = [(key, text.encode()) for key, text in headers.items() if text is not None]
    return ConsumerRecord("t", 0, 1, 0, 0, b"1001", value, 0, 0, 0, tuple(pairs))


@pytest.mark.parametrize("name", TOPIC_OF_EXAMPLE)
def test_example_is_valid_and_missing_header_is_a_breach(name: str) -> None:
    assert find_breach(TOPIC_OF_EXAMPLE[name], build_record(name)) is None
    for header in json.loads((FOLDER / f"examples/{name}.json").read_text())["headers"]:
        without = find_breach(TOPIC_OF_EXAMPLE[name], build_record(name, headers={header: None}))
        assert (without is None) == (header in ("ce_correlationid", "traceparent"))


@pytest.mark.parametrize("name", [name for name in TOPIC_OF_EXAMPLE if name != "dead_letter"])
def test_additional_key_is_a_breach_that_names_the_offset(name: str) -> None:
    found = find_breach(TOPIC_OF_EXAMPLE[name], build_record(name, surprise=1))
    assert found is not None
    assert f"{TOPIC_OF_EXAMPLE[name]}, partition 0, offset 1" in found
    assert "surprise" in found


def test_accepted_command_that_fails_its_schema_is_a_breach() -> None:
    command = json.loads((FOLDER / "examples/select_provisional_grade.json").read_text())["payload"]
    assert find_command_breach(command) is None
    assert "surprise" in str(find_command_breach({**command, "data": {**command["data"], "surprise": 1}}))
