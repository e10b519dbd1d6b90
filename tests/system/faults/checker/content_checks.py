"""I7: each record has the key and the content of the log's row with its id, a dead letter those of what was received.

Verdicts and events are compared as a whole, grade changes in what the data of their event says of the grade.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.system.faults.checker.observations import Json, LogEvent, LogVerdict, Place, Run, TopicRecord, Violation

NAMESPACE = "com.instructure.canvas"
Content = Callable[[TopicRecord, Any], str | None]
"""Describes how a record differs from the log's row; None if it does not."""


def check_content(run: Run) -> Iterator[Violation]:
    """I7: no record has the content or the key of another one; what was published is what the log has."""
    sent = {(record.source, record.partition, record.offset): record for record in run.commands}
    yield from _check(run, "verdicts", {row.ce_id: row for row in run.verdicts}, _compare_verdict)
    yield from _check(run, "events", {event.ce_id: event for event in run.events}, _compare_event)
    yield from _check(run, "live-events", {e.live_id: e for e in run.events if e.live_id}, _compare_live_event)
    yield from _check(run, "caliper", {e.caliper_id: e for e in run.events if e.caliper_id}, _compare_grade_event)
    yield from _check_verdict_keys(run, sent)
    yield from _check_dead_letters(run, sent)


def _check(run: Run, output: str, rows: Mapping[str, LogEvent | LogVerdict], compare: Content) -> Iterator[Violation]:
    for reader, topics in run.readers.items():
        for record in topics.get(output, []):
            row = rows.get(record.ce_id)
            # That there is no such id in the log is a violation of its own.
            if row is None:
                continue
            try:
                difference = compare(record, row)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                difference = f"cannot be read: {error!r}"
            if difference is not None:
                yield Violation("I7", f"{reader} read a record that {difference}", str(record), row.command_id)
            if isinstance(row, LogEvent) and record.key != str(row.course):
                evidence = f"{reader} read the key {record.key}, the course is {row.course}"
                yield Violation("I7", evidence, str(record), row.command_id)


def _compare_verdict(record: TopicRecord, row: LogVerdict) -> str | None:
    return None if json.loads(record.value) == row.body else f"is not the log's verdict {row.shard}/{row.number}"


def _compare_event(record: TopicRecord, event: LogEvent) -> str | None:
    if record.value == event.data:
        return None
    stored: Json = json.loads(event.data)
    is_sealed = stored.pop("sealed", None) is not None
    if _agrees(stored, json.loads(record.value), is_sealed=is_sealed):
        return None
    return f"is not the log's event {event.shard}/{event.position}"


def _agrees(stored: Any, published: Any, *, is_sealed: bool) -> bool:
    """Return whether a published value is the stored one, which has null where it is personal and so encrypted."""
    if stored is None and is_sealed:
        return True
    if isinstance(stored, dict) and isinstance(published, dict):
        return stored.keys() == published.keys() and all(
            _agrees(value, published[name], is_sealed=is_sealed) for name, value in stored.items()
        )
    if isinstance(stored, list) and isinstance(published, list):
        return len(stored) == len(published) and all(
            _agrees(*items, is_sealed=is_sealed) for items in zip(stored, published, strict=True)
        )
    return bool(stored == published)


def _compare_live_event(record: TopicRecord, event: LogEvent) -> str | None:
    value = json.loads(record.value)
    body = value["body"]
    names = ("student_id", "assignment_id", "submission_id", "grader_id", "score", "old_score", "grade", "old_grade")
    facts = {name: body[name] for name in names} | {"course_id": value["metadata"]["context_id"]}
    return _describe_difference(facts, _grade_facts(event))


def _compare_grade_event(record: TopicRecord, event: LogEvent) -> str | None:
    (grade_event,) = json.loads(record.value)["data"]
    attempt, score = grade_event["object"], grade_event["generated"]
    extensions = score.get("extensions", {}).get(NAMESPACE, {})
    if grade_event["id"] != f"urn:uuid:{record.ce_id}":
        return f"has the id {grade_event['id']}"
    facts = {
        "student_id": _read_id(attempt["assignee"]["id"]),
        "assignment_id": _read_id(attempt["assignable"]["id"]),
        "submission_id": _read_id(attempt["id"]),
        "course_id": _read_id(grade_event["group"]["id"]),
        "grader_id": _read_id(score["scoredBy"]) if "scoredBy" in score else None,
        "score": score.get("scoreGiven"),
        "grade": extensions.get("grade"),
    }
    return _describe_difference(facts, _grade_facts(event))


def _read_id(name: str) -> str:
    """Return the id at the end of a URN."""
    return name.rpartition(":")[2]


def _grade_facts(event: LogEvent) -> Json:
    """Return what an event says about a grade; new values only (``old_score`` is the same) unless they changed."""
    data: Json = json.loads(event.data)
    payload = data["payload"]
    facts = {name: data[name] for name in ("student_id", "assignment_id", "submission_id", "course_id")}
    for name in ("score", "grade"):
        if name in payload:
            pair = payload[name] if isinstance(payload[name], list) else [payload[name]] * 2
            facts[f"old_{name}"], facts[name] = pair
    for name in ("scorer_id", "grader_id"):
        if name in payload:
            facts["grader_id"] = payload[name][1] if isinstance(payload[name], list) else payload[name]
    return facts


def _describe_difference(facts: Json, logged: Json) -> str | None:
    for name in sorted(facts.keys() & logged.keys()):
        if facts[name] != logged[name]:
            return f"has {name} {facts[name]!r}, by the log it is {logged[name]!r}"
    return None


def _check_verdict_keys(run: Run, sent: Mapping[Place, TopicRecord]) -> Iterator[Violation]:
    """Check that a verdict's key is its course; if none could be read, the key of the command's record."""
    keys: dict[str, str | None] = {}
    for row in run.verdicts:
        if row.body["course_id"] is not None:
            keys[row.ce_id] = str(row.body["course_id"])
        elif row.place in sent:
            keys[row.ce_id] = sent[row.place].key
    for reader, topics in run.readers.items():
        for record in topics.get("verdicts", []):
            if record.ce_id in keys and record.key != keys[record.ce_id]:
                evidence = f"{reader} read the key {record.key}, it belongs under {keys[record.ce_id]}"
                yield Violation("I7", evidence, str(record), record.headers["ce_causationid"])


def _check_dead_letters(run: Run, sent: Mapping[Place, TopicRecord]) -> Iterator[Violation]:
    """Check key and value as received, and the log's reason. Records of an earlier commands topic are gone."""
    received: dict[tuple[int, int], list[tuple[str | None, ...] | None]] = defaultdict(list)
    for row in run.dead_letters:
        record = sent.get(row.place)
        original = None if record is None else (record.key, record.value, row.reason)
        received[row.partition, row.offset].append(original)
    for reader, topics in run.readers.items():
        for letter in topics.get("dead-letters", []):
            headers = letter.headers
            place = int(headers["original_partition"]), int(headers["original_offset"])
            originals = received.get(place, [None])
            if None not in originals and (letter.key, letter.value, headers.get("dead_letter_reason")) not in originals:
                evidence = f"{reader} read another key, value or reason than the record at this place has"
                yield Violation("I7", evidence, f"{letter} of commands {place}")
