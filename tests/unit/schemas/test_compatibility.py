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
    made = deepcopy(CURRENT_CONTRACTS)
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
    "a topic lost": (changed_contracts("channels", **{"moderation.caliper": None}), "channels: moderation.caliper"),
    "a message lost": (
        {path: schema for path, schema in CURRENT_CONTRACTS.items() if path != PUBLISHED},
        f"{PUBLISHED}: removed",
    ),
    "a key of the body lost": (contracts_without("grade_change", *BODY, "muted"), "/body/muted: removed"),
    "a key of the body renamed": (contracts_with_renamed("grade_change", *BODY, "grade"), "/body/grade: removed"),
    "a key that may be null now": (
        changed_contracts("grade_change", *BODY, "submission_id", type=["string", "null"]),
        "/submission_id: other types",
    ),
    "an id that is a number now": (
        changed_contracts("grade_change", *BODY, "student_id", type="integer"),
        "other types",
    ),
    "an id in another form": (
        changed_contracts("grade_change", *BODY, "student_id", pattern="^[a-z]+$"),
        "pattern changed",
    ),
    "a key that may be left out now": (
        changed_contracts("verdict", required=["command_id"]),
        "/status: may be left out now",
    ),
    "a constant that changed": (
        changed_contracts("grade_change", *JOB, "properties", "producer", const="us"),
        "const changed",
    ),
    "a status more": (
        changed_contracts("verdict", "properties", "status", enum=["accepted", "maybe"]),
        "/status: other values",
    ),
    "a header lost": (contracts_without("headers/live-events", "properties", "ce_sequence"), "/ce_sequence: removed"),
    "a payload's key lost": (
        contracts_without(PUBLISHED, "$defs", "GradePublished", "properties", "scorer_id"),
        "/payload/scorer_id: removed",
    ),
    "a pair that is one value now": (
        changed_contracts(PUBLISHED, "$defs", "GradePublished", "properties", "score", type="number"),
        "/score: other types",
    ),
    "the half of a pair that is a text now": (
        changed_contracts(
            PUBLISHED, "$defs", "GradePublished", "properties", "score", "prefixItems", "1", type="string"
        ),
        "/score[1]: other types",
    ),
    "a key of a list's objects lost": (
        contracts_without("events/users_updated", "$defs", "User", "properties", "user_id"),
        "/users[]/user_id: removed",
    ),
    "a command's field lost": (
        contracts_without(GRADE, *GRADE_DATA, "properties", "comment"),
        "/data/comment: removed",
    ),
    "a command's field that is required now": (
        changed_contracts(GRADE, *GRADE_DATA, required=["student_id", "comment"]),
        "/data/comment: required now",
    ),
    "a shorter text": (
        changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", maxLength=10),
        "maxLength changed",
    ),
    "a type of enrollment less": (
        changed_contracts(
            "commands/upsert_enrollments", "$defs", "Enrollment", "properties", "type", enum=["TaEnrollment"]
        ),
        "/type: other values",
    ),
    "a list that must not be empty now": (
        changed_contracts("commands/upsert_users", "$defs", "UsersData", "properties", "users", minItems=1),
        "minItems",
    ),
    "headers of commands closed now": (changed_contracts("headers/commands", additionalProperties=False), "closed now"),
    "an answer's key lost over HTTP": (
        contracts_without(RESPONSE_SCHEMA, "$defs", "StateSubmission", "properties", "score"),
        "/submissions[]/score: removed",
    ),
    "a parameter that is required now over HTTP": (
        changed_contracts(REQUEST_SCHEMA, required=["path assignment_id", "query version"]),
        "/query version: required now",
    ),
    "an operation lost": (
        {path: schema for path, schema in CURRENT_CONTRACTS.items() if path != REQUEST_SCHEMA},
        f"{REQUEST_SCHEMA}: removed",
    ),
    "null no longer clears": (
        changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", type="string"),
        "other types",
    ),
}
COMPATIBLE: dict[str, dict[str, Json]] = {
    "a message more": {**CURRENT_CONTRACTS, "events/new_thing": CURRENT_CONTRACTS[PUBLISHED]},
    "a topic more": changed_contracts("channels", **{"moderation.more": {"messages": ["x"], "key": ["course_id"]}}),
    "a key more in the body": changed_contracts("grade_change", *BODY, excused={"type": "boolean"}),
    "a header more": changed_contracts("headers/events", "properties", ce_new={"type": "string"}),
    "a field more in a command": changed_contracts(GRADE, *GRADE_DATA, "properties", late={"type": "boolean"}),
    "a field of a command that may be left out now": changed_contracts(GRADE, *GRADE_DATA, required=[]),
    "a parameter more over HTTP": changed_contracts(REQUEST_SCHEMA, "properties", **{"query more": {"type": "string"}}),
    "a key more in an answer": changed_contracts(
        RESPONSE_SCHEMA, "$defs", "StateSubmission", "properties", more={"type": "string"}
    ),
    "a longer text": changed_contracts(GRADE, *GRADE_DATA, "properties", "comment", maxLength=100_000),
    "another description": changed_contracts(PUBLISHED, description="Otherwise said."),
    "a number that is whole now": changed_contracts("grade_change", *BODY, "points_possible", type=["integer", "null"]),
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


def test_unchanged_contracts_are_compatible() -> None:
    assert breaking_changes(CURRENT_CONTRACTS, json.loads(json.dumps(CURRENT_CONTRACTS))) == []
