"""Compares what happened with a case's ``then``."""

import re
from typing import Any

from tests.cases.adapter import World

Json = dict[str, Any]
# The contract's name for Canvas's submission_comment_created on a provisional grade.
EVENT_NAMES = {"submission_comment_created": "provisional_comment_created"}


def resolve_token(world: World, value: Any) -> Any:
    """A token of the case as a value; ``@any`` and ``@time`` stay."""
    if isinstance(value, str) and (match := re.fullmatch(r"@(user|assignment|pg):(.+)", value)):
        names = {"user": world.users, "assignment": world.assignments, "pg": world.grades}[match[1]]
        return names[match[2]]
    if isinstance(value, str) and (match := re.fullmatch(r"@anon:(.+)/(.+)", value)):
        return world.anonymous_ids[world.users[match[1]], match[2]]
    return value


def matches(world: World, expected: Any, actual: Any) -> bool:
    """Subset match of objects, lists in order and length, numbers by value, ids as integers or strings."""
    expected = resolve_token(world, expected)
    if expected == "@any":
        return True
    if expected == "@time":
        return isinstance(actual, str) and actual.endswith("Z")
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            name not in actual if part == "@absent" else name in actual and matches(world, part, actual[name])
            for name, part in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(expected) == len(actual)
            and all(matches(world, part, other) for part, other in zip(expected, actual, strict=True))
        )
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(actual, str):
        return str(expected) == actual
    return bool(expected == actual)


def matches_state(world: World, expected: Json, documents: dict[str, Json]) -> bool:
    """One line of ``then.state`` against the state documents by assignment name."""
    if "pg" in expected:
        number = world.grades[expected["pg"]]
        grades = [g for d in documents.values() for g in d["provisional_grades"]]
        grade = next(g for g in grades if g["provisional_grade_id"] == number)
        actual = {**grade, "scorer": grade["scorer_id"], "comments": _comment_texts(grade)}
        return matches(world, {k: v for k, v in expected.items() if k != "pg"}, actual)
    if "slots_of" in expected:
        document = documents[expected["slots_of"]]
        final_grader = document["settings"]["final_grader_id"]
        holders = {g["user_id"] for g in document["moderation_graders"] if g["slot_taken"]} - {final_grader}
        if "taken_count" in expected:
            return bool(len(holders) == expected["taken_count"])
        return holders == {world.users[name] for name in expected["taken_by"]}
    document = documents[expected["assignment"]]
    if "grades_published" in expected:
        return (document["grades_published_at"] is not None) is expected["grades_published"]
    if "selection_of" in expected:
        student = world.users[expected["selection_of"]]
        row = next((r for r in document["moderation_set"] if r["student_id"] == student), None)
        if expected["is"] == "absent" or row is None:
            return expected["is"] == "absent" and row is None
        chosen = expected["is"] and world.grades[expected["is"]]
        return bool(row["selected_provisional_grade_id"] == chosen)
    if "pg_count_of" in expected:
        student = world.users[expected["pg_count_of"]]
        count = sum(g["student_id"] == student for g in document["provisional_grades"])
        return bool(count == expected["equals"])
    student = world.users[expected["gradebook_of"]]
    submission = next(s for s in document["submissions"] if s["student_id"] == student)
    actual = {**submission, "grader": submission["grader_id"], "public_comments": _comment_texts(submission)}
    return matches(world, {k: v for k, v in expected.items() if k not in ("gradebook_of", "assignment")}, actual)


def _comment_texts(holder: Json) -> list[str]:
    return [comment["comment"] for comment in holder["submission_comments"]]


def check_events(world: World, then: Json, events: list[tuple[str, Json]]) -> None:
    """``events``: (name, value) of the domain events that the case's commands caused."""
    for expected in then.get("events", ()):
        name = EVENT_NAMES.get(expected["type"], expected["type"])
        found = [value for other, value in events if other == name]
        assert len(found) == expected["count"], (name, events)
        match = expected.get("match", {})
        for value in found:
            actual = {"user": value["user_id"], "submission_of": value["student_id"], "payload": value["payload"]}
            assert matches(world, match, actual), (match, actual)
            if "payload_keys" in expected:
                assert set(value["payload"]) == set(expected["payload_keys"])
    for name in then.get("no_events", ()):
        unwanted = [n for n, _ in events if name in ("*", n) or EVENT_NAMES.get(name) == n]
        assert not unwanted, unwanted


def check_grade_changes(world: World, then: Json, bodies: list[Json]) -> None:
    """``bodies`` of the grade_change events that the case's commands caused."""
    for expected in then.get("emits", ()):
        if "count" in expected:
            assert len(bodies) == expected["count"], bodies
        if "match" in expected:
            assert any(matches(world, expected["match"], body) for body in bodies), bodies
