"""Compares what happened with a case's ``then``."""

import re
from typing import Any

from tests.cases.adapter import World

Json = dict[str, Any]
# The contract's name for Canvas's submission_comment_created on a provisional grade.
NAMES = {"submission_comment_created": "provisional_comment_created"}


def resolve(world: World, value: Any) -> Any:
    """A token of the case as a value; ``@any`` and ``@time`` stay."""
    if isinstance(value, str) and (match := re.fullmatch(r"@(user|assignment|pg):(.+)", value)):
        names = {"user": world.users, "assignment": world.assignments, "pg": world.grades}[match[1]]
        return names[match[2]]
    if isinstance(value, str) and (match := re.fullmatch(r"@anon:(.+)/(.+)", value)):
        return world.anonymous_ids[world.users[match[1]], match[2]]
    return value


def same(world: World, expected: Any, found: Any) -> bool:
    """Subset match of objects, lists in order and length, numbers by value, ids as integers or strings."""
    expected = resolve(world, expected)
    if expected == "@any":
        return True
    if expected == "@time":
        return isinstance(found, str) and found.endswith("Z")
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name not in found if part == "@absent" else name in found and same(world, part, found[name])
            for name, part in expected.items()
        )
    if isinstance(expected, list):
        return (
            isinstance(found, list)
            and len(expected) == len(found)
            and all(same(world, part, other) for part, other in zip(expected, found, strict=True))
        )
    if isinstance(expected, int) and not isinstance(expected, bool) and isinstance(found, str):
        return str(expected) == found
    return bool(expected == found)


def state_holds(world: World, wanted: Json, documents: dict[str, Json]) -> bool:
    """One line of ``then.state`` against the state documents by assignment name."""
    if "pg" in wanted:
        number = world.grades[wanted["pg"]]
        grades = [g for d in documents.values() for g in d["provisional_grades"]]
        grade = next(g for g in grades if g["provisional_grade_id"] == number)
        found = {**grade, "scorer": grade["scorer_id"], "comments": _texts(grade)}
        return same(world, {k: v for k, v in wanted.items() if k != "pg"}, found)
    if "slots_of" in wanted:
        document = documents[wanted["slots_of"]]
        final_grader = document["settings"]["final_grader_id"]
        holders = {g["user_id"] for g in document["moderation_graders"] if g["slot_taken"]} - {final_grader}
        if "taken_count" in wanted:
            return bool(len(holders) == wanted["taken_count"])
        return holders == {world.users[name] for name in wanted["taken_by"]}
    document = documents[wanted["assignment"]]
    if "grades_published" in wanted:
        return (document["grades_published_at"] is not None) is wanted["grades_published"]
    if "selection_of" in wanted:
        student = world.users[wanted["selection_of"]]
        row = next((r for r in document["moderation_set"] if r["student_id"] == student), None)
        if wanted["is"] == "absent" or row is None:
            return wanted["is"] == "absent" and row is None
        chosen = wanted["is"] and world.grades[wanted["is"]]
        return bool(row["selected_provisional_grade_id"] == chosen)
    if "pg_count_of" in wanted:
        student = world.users[wanted["pg_count_of"]]
        count = sum(g["student_id"] == student for g in document["provisional_grades"])
        return bool(count == wanted["equals"])
    student = world.users[wanted["gradebook_of"]]
    submission = next(s for s in document["submissions"] if s["student_id"] == student)
    found = {**submission, "grader": submission["grader_id"], "public_comments": _texts(submission)}
    return same(world, {k: v for k, v in wanted.items() if k not in ("gradebook_of", "assignment")}, found)


def _texts(holder: Json) -> list[str]:
    return [comment["comment"] for comment in holder["submission_comments"]]


def check_events(world: World, then: Json, events: list[tuple[str, Json]]) -> None:
    """``events``: (name, value) of the domain events that the case's commands caused."""
    for wanted in then.get("events", ()):
        name = NAMES.get(wanted["type"], wanted["type"])
        found = [value for other, value in events if other == name]
        assert len(found) == wanted["count"], (name, events)
        match = wanted.get("match", {})
        for value in found:
            about = {"user": value["user_id"], "submission_of": value["student_id"], "payload": value["payload"]}
            assert same(world, match, about), (match, about)
            if "payload_keys" in wanted:
                assert set(value["payload"]) == set(wanted["payload_keys"])
    for name in then.get("no_events", ()):
        unwanted = [n for n, _ in events if name in ("*", n) or NAMES.get(name) == n]
        assert not unwanted, unwanted


def check_emits(world: World, then: Json, bodies: list[Json]) -> None:
    """``bodies`` of the grade_change events that the case's commands caused."""
    for wanted in then.get("emits", ()):
        if "count" in wanted:
            assert len(bodies) == wanted["count"], bodies
        if "match" in wanted:
            assert any(same(world, wanted["match"], body) for body in bodies), bodies
