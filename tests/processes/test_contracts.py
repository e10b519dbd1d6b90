"""What holds every record against its contract sees a breach."""

import json
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from schemas.generate import FOLDER
from tests.processes.contracts import breach, command_breach

TOPICS = {
    "verdict": "verdicts",
    "grade_change": "live-events",
    "grade_event": "caliper",
    "grade_published": "events",
    "dead_letter": "dead-letters",
}


def record(name: str, **changes: Any) -> ConsumerRecord[Any, Any]:
    example = json.loads((FOLDER / f"examples/{name}.json").read_text())
    headers = {**example["headers"], **changes.pop("headers", {})}
    value = json.dumps({**example["payload"], **changes} if changes else example["payload"]).encode()
    pairs = [(key, text.encode()) for key, text in headers.items() if text is not None]
    return ConsumerRecord("t", 0, 1, 0, 0, b"1001", value, 0, 0, 0, tuple(pairs))


@pytest.mark.parametrize("name", TOPICS)
def test_an_example_is_no_breach_and_one_without_a_header_is(name: str) -> None:
    assert breach(TOPICS[name], record(name)) is None
    for header in json.loads((FOLDER / f"examples/{name}.json").read_text())["headers"]:
        without = breach(TOPICS[name], record(name, headers={header: None}))
        assert (without is None) == (header in ("ce_correlationid", "traceparent"))


@pytest.mark.parametrize("name", [name for name in TOPICS if name != "dead_letter"])
def test_a_value_with_a_key_more_is_a_breach_that_says_where_it_was_read(name: str) -> None:
    found = breach(TOPICS[name], record(name, surprise=1))
    assert found is not None
    assert f"{TOPICS[name]}, partition 0, offset 1" in found
    assert "surprise" in found


def test_an_accepted_command_that_its_schema_refuses_is_a_breach() -> None:
    command = json.loads((FOLDER / "examples/select_provisional_grade.json").read_text())["payload"]
    assert command_breach(command) is None
    assert "surprise" in str(command_breach({**command, "data": {**command["data"], "surprise": 1}}))
