"""Contracts change by addition only: changes that break consumers or producers are found, others are accepted."""

import json
from copy import deepcopy
from typing import Any

import pytest

from schemas.compatibility import RELEASED, breaking_changes, current_contracts, read_contracts

Json = dict[str, Any]
CURRENT_CONTRACTS = current_contracts()


def changed_contracts(path: str, *places: str, **parts: Any) -> dict[str, Json]:
    """Return the current contracts with parts of one schema changed; None removes a part."""
    made = {**CURRENT_CONTRACTS, path: deepcopy(CURRENT_CONTRACTS[path])}
    node = made[path]
    for place in places:
        node = node[int(place)] if isinstance(node, list) else node[place]
    for name, part in parts.items():
        node.pop(name, None) if part is None else node.update({name: part})
    return made


def contracts_without(path: str, *places: str) -> dict[str, Json]:
    return changed_contracts(path, *places[:-1], **{places[-1]: None})


def contracts_with_renamed(path: str, *places: str) -> dict[str, Json]:
    """Return the current contracts with one property renamed."""
    made = contracts_without(path, *places)
    node = made[path]
    for place in places[:-1]:
        node = node[place]
    node["renamed"] = {"type": "string"}
    return made


BODY = ("$defs", "Body", "properties")
JOB = ("$defs", "JobMetadata")
GRADE = "commands/record_provisional_grade"
GRADE_DATA = ("$defs", "ProvisionalGradeData")
PUBLISHED = "events/grade_published"
REQUEST_SCHEMA = "http-request/GET /api/moderation/v1/assignments/{assignment_id}/state"
RESPONSE_SCHEMA = "http-answer/GET /api/moderation/v1/assignments/{assignment_id}/state 200"
BREAKING: dict[str, tuple[dict[str, Json], str]] = {
    "a removed topic": (changed_contracts("channels", **{"moderation.caliper": None}), "channels: moderation.caliper"),
    "a removed message": (
        {path: schema for path, schema in CURRENT_CONTRACTS.items() if path != PUBLISHED},
        f"{PUBLISHED}: removed",
    ),
    "a removed key of the body": (contracts_without("grade_change", *BODY, "muted"), "/body/muted: removed"),
    "a renamed key of the body": (contracts_with_renamed("grade_change", *BODY, "grade"), "/body/grade: removed"),
    "a key that may now be null": (
        changed_contracts("grade_change", *BODY, "submission_id", type=["string", "null"]),
        "/submission_id: the allowed types differ",
    ),
    "an id that became a number": (
        changed_contracts("grade_change", *BODY, "student_id", type="integer"),
        "the allowed types differ",
    ),
    "an id in another form": (
        changed_contracts("grade_change", *BODY, "student_id", pattern="^[a-z]+$"),
        "pattern changed",
    ),
    "a key that is no longer required": (
        changed_contracts("verdict", required=["command_id"]),
        "/status: is no longer required",
    ),
    "a constant that changed": (
        changed_contracts("grade_change", *JOB, "properties", "producer", const="us"),
        "const changed",
    ),
    "an additional status": (
        changed_contracts("verdict", "properties", "status", enum=["accepted", "maybe"]),
        "/status: the allowed values differ",
    ),
    "a removed header": (
        contracts_without("headers/live-events", "properties", "ce_sequence"),
        "/ce_sequence: removed",
    ),
    "a removed key of a payload": (
        contracts_without(PUBLISHED, "$defs", "GradePublished", "properties", "scorer_id"),
        "/payload/scorer_id: removed",
    ),
    "a pair that became one value": (
        changed_contracts(PUBLISHED, "$defs", "GradePublished", "properties", "score", type="number"),
        "/score: the allowed types differ",
    ),
    "half of a pair that became a text": (
        changed_contracts(
            PUBLISHED, "$defs", "GradePublished", "properties", "score", "prefixItems", "1", type="string"
        ),
        "/score[1]: the allowed types differ",
    ),
    "a removed key of objects in a list": (
        contracts_without("events/users_updated", "$defs", "User", "properties", "user_id"),
        "/users[]/user_id: removed",
    ),
    "a removed field of a command": (
        contracts_without(GRADE, *GRADE_DATA, "properties", "comment"),
        "/data/comment: removed",
    ),
    "a field of a command that is now required": (
        changed_contracts(GRADE, *GRADE_DATA, required=["student_id", "comment"]),
        "/data/comment: is now required",
    ),
    "a shorter text": (
        changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", maxLength=10),
        "maxLength changed",
    ),
    "a removed type of enrollment": (
        changed_contracts(
            "commands/upsert_enrollments", "$defs", "Enrollment", "properties", "type", enum=["TaEnrollment"]
        ),
        "/type: the allowed values differ",
    ),
    "a list that must no longer be empty": (
        changed_contracts("commands/upsert_users", "$defs", "UsersData", "properties", "users", minItems=1),
        "minItems",
    ),
    "headers of commands that no longer accept others": (
        changed_contracts("headers/commands", additionalProperties=False),
        "no longer accepts other fields",
    ),
    "a removed key of an HTTP response": (
        contracts_without(RESPONSE_SCHEMA, "$defs", "StateSubmission", "properties", "score"),
        "/submissions[]/score: removed",
    ),
    "an HTTP parameter that is now required": (
        changed_contracts(REQUEST_SCHEMA, required=["path assignment_id", "query version"]),
        "/query version: is now required",
    ),
    "a removed operation": (
        {path: schema for path, schema in CURRENT_CONTRACTS.items() if path != REQUEST_SCHEMA},
        f"{REQUEST_SCHEMA}: removed",
    ),
    "null no longer clears": (
        changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", type="string"),
        "the allowed types differ",
    ),
}
COMPATIBLE: dict[str, dict[str, Json]] = {
    "an additional message": {**CURRENT_CONTRACTS, "events/new_thing": CURRENT_CONTRACTS[PUBLISHED]},
    "an additional topic": changed_contracts(
        "channels", **{"moderation.more": {"messages": ["x"], "key": ["course_id"]}}
    ),
    "an additional key in the body": changed_contracts("grade_change", *BODY, excused={"type": "boolean"}),
    "an additional header": changed_contracts("headers/events", "properties", ce_new={"type": "string"}),
    "an additional field of a command": changed_contracts(GRADE, *GRADE_DATA, "properties", late={"type": "boolean"}),
    "a field of a command that is no longer required": changed_contracts(GRADE, *GRADE_DATA, required=[]),
    "an additional HTTP parameter": changed_contracts(
        REQUEST_SCHEMA, "properties", **{"query more": {"type": "string"}}
    ),
    "an additional key in a response": changed_contracts(
        RESPONSE_SCHEMA, "$defs", "StateSubmission", "properties", more={"type": "string"}
    ),
    "a longer text": changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", maxLength=100_000),
    "another description": changed_contracts(PUBLISHED, description="In other words."),
    "a number that became an integer": changed_contracts(
        "grade_change", *BODY, "points_possible", type=["integer", "null"]
    ),
}


def test_current_contracts_are_compatible_with_the_released_ones() -> None:
    assert breaking_changes(read_contracts(RELEASED), CURRENT_CONTRACTS) == [], (
        "change by addition, or give it a version of its own"
    )


@pytest.mark.parametrize("name", BREAKING)
def test_breaking_change_is_reported(name: str) -> None:
    planted, said = BREAKING[name]
    found = breaking_changes(CURRENT_CONTRACTS, planted)
    assert any(said in reason for reason in found), found


@pytest.mark.parametrize("name", COMPATIBLE)
def test_additive_change_is_compatible(name: str) -> None:
    assert COMPATIBLE[name] != CURRENT_CONTRACTS
    assert breaking_changes(CURRENT_CONTRACTS, COMPATIBLE[name]) == []


@pytest.mark.slow
def test_unchanged_contracts_are_compatible() -> None:
    assert breaking_changes(CURRENT_CONTRACTS, json.loads(json.dumps(CURRENT_CONTRACTS))) == []
