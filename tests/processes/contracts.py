"""Records of the topics against the contracts' files: every message that a test sees is held against its schema."""

import json
from functools import cache
from typing import Any

import jsonschema_rs
import orjson
from aiokafka import ConsumerRecord

from schemas.generate import GENERATED

VALUE_SCHEMAS = {"verdicts": "verdict", "live-events": "grade_change", "caliper": "grade_event"}


@cache
def load_validator(path: str) -> Any:
    """The compiled schema of that path below ``schemas/generated``."""
    return jsonschema_rs.validator_for(json.loads((GENERATED / f"{path}.schema.json").read_text()))


def find_breach(topic: str, record: ConsumerRecord[Any, Any]) -> str | None:
    """What of a record on a topic (its name without prefix) is not as its contract says; None where all is."""
    headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    error = _validation_errors(f"headers/{topic}", headers)
    if topic != "dead-letters" and error is None:
        name = VALUE_SCHEMAS.get(topic) or f"events/{headers['ce_type'].split('.')[1]}"
        error = _validation_errors(name, orjson.loads(record.value or b"null"))
    return error and f"{topic}, partition {record.partition}, offset {record.offset}: {error}; {record.value!r:.500}"


def find_command_breach(command: dict[str, Any]) -> str | None:
    """What of a command that was accepted is not as its schema says; None where all is."""
    return _validation_errors(f"commands/{command['type']}", command)


def _validation_errors(path: str, instance: Any) -> str | None:
    schema = load_validator(path)
    if schema.is_valid(instance):
        return None
    return "; ".join(f"{path}{error.instance_path}: {error.message}" for error in schema.iter_errors(instance))[:2_000]
