"""Contracts change by addition only: what breaks a consumer or a producer is found, what does not is let be."""

import json
from copy import deepcopy
from typing import Any

import pytest

from schemas.compatibility import RELEASED, breaking_changes, current_contracts, read_contracts

Json = dict[str, Any]
NOW = current_contracts()


def changed(path: str, *places: str, **parts: Any) -> dict[str, Json]:
    """The present contracts with parts of one schema changed; a part that is None is taken away."""
    made = deepcopy(NOW)
    node = made[path]
    for place in places:
        node = node[int(place)] if isinstance(node, list) else node[place]
    for name, part in parts.items():
        node.pop(name, None) if part is None else node.update({name: part})
    return made


def without(path: str, *places: str) -> dict[str, Json]:
    return changed(path, *places[:-1], **{places[-1]: None})


def renamed(path: str, *places: str) -> dict[str, Json]:
    """One property has another name."""
    made = without(path, *places)
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
ASKED = "http-request/GET /api/moderation/v1/assignments/{assignment_id}/state"
ANSWERED = "http-answer/GET /api/moderation/v1/assignments/{assignment_id}/state 200"
BREAKING: dict[str, tuple[dict[str, Json], str]] = {
    "a topic lost": (changed("channels", **{"moderation.caliper": None}), "channels: moderation.caliper"),
    "a message lost": ({path: schema for path, schema in NOW.items() if path != PUBLISHED}, f"{PUBLISHED}: removed"),
    "a key of the body lost": (without("grade_change", *BODY, "muted"), "/body/muted: removed"),
    "a key of the body renamed": (renamed("grade_change", *BODY, "grade"), "/body/grade: removed"),
    "a key that may be null now": (
        changed("grade_change", *BODY, "submission_id", type=["string", "null"]), "/submission_id: other types",
    ),
    "an id that is a number now": (changed("grade_change", *BODY, "student_id", type="integer"), "other types"),
    "an id in another form": (changed("grade_change", *BODY, "student_id", pattern="^[a-z]+$"), "pattern changed"),
    "a key that may be left out now": (changed("verdict", required=["command_id"]), "/status: may be left out now"),
    "a constant that changed": (changed("grade_change", *JOB, "properties", "producer", const="us"), "const changed"),
    "a status more": (changed("verdict", "properties", "status", enum=["accepted", "maybe"]), "/status: other values"),
    "a header lost": (without("headers/live-events", "properties", "ce_sequence"), "/ce_sequence: removed"),
    "a payload's key lost": (
        without(PUBLISHED, "$defs", "GradePublished", "properties", "scorer_id"), "/payload/scorer_id: removed",
    ),
    "a pair that is one value now": (
        changed(PUBLISHED, "$defs", "GradePublished", "properties", "score", type="number"), "/score: other types",
    ),
    "the half of a pair that is a text now": (
        changed(PUBLISHED, "$defs", "GradePublished", "properties", "score", "prefixItems", "1", type="string"),
        "/score[1]: other types",
    ),
    "a key of a list's objects lost": (
        without("events/users_updated", "$defs", "User", "properties", "user_id"), "/users[]/user_id: removed",
    ),
    "a command's field lost": (without(GRADE, *GRADE_DATA, "properties", "comment"), "/data/comment: removed"),
    "a command's field that is required now": (
        changed(GRADE, *GRADE_DATA, required=["student_id", "comment"]), "/data/comment: required now",
    ),
    "a shorter text": (changed(GRADE, *GRADE_DATA, "properties", "comment", maxLength=10), "maxLength changed"),
    "a type of enrollment less": (
        changed("commands/upsert_enrollments", "$defs", "Enrollment", "properties", "type", enum=["TaEnrollment"]),
        "/type: other values",
    ),
    "a list that must not be empty now": (
        changed("commands/upsert_users", "$defs", "UsersData", "properties", "users", minItems=1), "minItems",
    ),
    "headers of commands closed now": (changed("headers/commands", additionalProperties=False), "closed now"),
    "an answer's key lost over HTTP": (
        without(ANSWERED, "$defs", "StateSubmission", "properties", "score"), "/submissions[]/score: removed",
    ),
    "a parameter that is required now over HTTP": (
        changed(ASKED, required=["path assignment_id", "query version"]), "/query version: required now",
    ),
    "an operation lost": ({path: schema for path, schema in NOW.items() if path != ASKED}, f"{ASKED}: removed"),
    "null no longer clears": (changed(GRADE, *GRADE_DATA, "properties", "comment", type="string"), "other types"),
}  # fmt: skip
HARMLESS: dict[str, dict[str, Json]] = {
    "a message more": {**NOW, "events/new_thing": NOW[PUBLISHED]},
    "a topic more": changed("channels", **{"moderation.more": {"messages": ["x"], "key": ["course_id"]}}),
    "a key more in the body": changed("grade_change", *BODY, excused={"type": "boolean"}),
    "a header more": changed("headers/events", "properties", ce_new={"type": "string"}),
    "a field more in a command": changed(GRADE, *GRADE_DATA, "properties", late={"type": "boolean"}),
    "a field of a command that may be left out now": changed(GRADE, *GRADE_DATA, required=[]),
    "a parameter more over HTTP": changed(ASKED, "properties", **{"query more": {"type": "string"}}),
    "a key more in an answer": changed(ANSWERED, "$defs", "StateSubmission", "properties", more={"type": "string"}),
    "a longer text": changed(GRADE, *GRADE_DATA, "properties", "comment", maxLength=100_000),
    "another description": changed(PUBLISHED, description="Otherwise said."),
    "a number that is whole now": changed("grade_change", *BODY, "points_possible", type=["integer", "null"]),
}


def test_the_present_contracts_break_nobody_who_holds_the_released_ones() -> None:
    assert breaking_changes(read_contracts(RELEASED), NOW) == [], "change by addition, or give it a version of its own"


@pytest.mark.parametrize("name", BREAKING)
def test_a_change_that_breaks_somebody_is_found_and_named(name: str) -> None:
    planted, said = BREAKING[name]
    found = breaking_changes(NOW, planted)
    assert any(said in reason for reason in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_a_change_by_addition_breaks_nobody(name: str) -> None:
    assert HARMLESS[name] != NOW
    assert breaking_changes(NOW, HARMLESS[name]) == []


def test_nothing_changed_breaks_nothing() -> None:
    assert breaking_changes(NOW, json.loads(json.dumps(NOW))) == []
