"""The checker finds records that have an id of the log, and the content or the key of something else."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.system.faults.checker import check
from tests.system.faults.checker.observations import Run, TopicRecord
from tests.unit.faults.observed_run import SECRET, clean_run, find
from tests.unit.faults.planting import change_on_topic, decide_otherwise

OUTPUTS = ("verdicts", "events", "live-events", "caliper", "dead-letters")


def run_with_two_dead_letters() -> Run:
    run = clean_run()
    (letter,) = run.dead_letters
    (record,) = (r for r in run.commands if (r.source, r.partition, r.offset) == letter.place)
    run.commands.append(replace(record, offset=90, key="4", value="{ another"))
    run.history.append({"kind": "acknowledged", "at": 99, "command_id": "", "partition": 3, "offset": 90})
    run.dead_letters.append(replace(letter, offset=90, number=2))
    for topics in run.readers.values():
        (first,) = topics["dead-letters"]
        headers = {**first.headers, "original_offset": "90"}
        topics["dead-letters"].append(replace(first, offset=99, key="4", value="{ another", headers=headers))
    return run


def swap(records: list[TopicRecord], *names: str) -> list[TopicRecord]:
    """Swap values or keys of the first record and the last one, which stay under their ids."""
    first, last = records[0], records[-1]
    ours, theirs = ({name: getattr(record, name) for name in names} for record in (first, last))
    return [replace(first, **theirs), *records[1:-1], replace(last, **ours)]


@pytest.mark.parametrize("output", OUTPUTS)
def test_values_that_are_swapped_under_their_ids_are_found(output: str) -> None:
    run = run_with_two_dead_letters()
    assert check(run) == []
    change_on_topic(run, output, lambda records: swap(records, "value"))
    assert "I7" in find(run)


@pytest.mark.parametrize("output", OUTPUTS)
def test_key_of_another_course_is_found(output: str) -> None:
    run = run_with_two_dead_letters()
    change_on_topic(run, output, lambda records: [replace(records[0], key="9"), *records[1:]])
    assert find(run) == {"I7"}


@pytest.mark.parametrize("output", ["verdicts", "events", "dead-letters"])
def test_keys_that_are_swapped_are_found(output: str) -> None:
    run = run_with_two_dead_letters()
    change_on_topic(run, output, lambda records: swap(records, "key"))
    assert find(run) == {"I7"}


def with_changes(record: TopicRecord, change: Callable[[Any], None]) -> TopicRecord:
    value = json.loads(record.value)
    change(value)
    return replace(record, value=json.dumps(value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("score", 8), ("old_score", 6), ("grade", "8"), ("old_grade", "6"), ("grader_id", "22")),
        *(("student_id", "34"), ("assignment_id", "1001"), ("submission_id", "1")),
    ],
)
def test_live_event_that_says_something_else_than_its_event_is_found(name: str, value: Any) -> None:
    run = clean_run()

    def change(live_event: Any) -> None:
        live_event["body"][name] = value

    change_on_topic(run, "live-events", lambda records: [with_changes(records[0], change), *records[1:]])
    assert find(run) == {"I7"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("generated", "scoreGiven"), 8.0),
        (("generated", "scoredBy"), "urn:instructure:canvas:user:22"),
        (("generated", "extensions", "com.instructure.canvas", "grade"), "8"),
        (("object", "assignee", "id"), "urn:instructure:canvas:user:34"),
        (("object", "assignable", "id"), "urn:instructure:canvas:assignment:1001"),
        (("object", "id"), "urn:instructure:canvas:submission:1"),
        (("group", "id"), "urn:instructure:canvas:course:4"),
        (("id",), "urn:uuid:another"),
        (("object",), None),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)
def test_grade_event_that_says_something_else_than_its_event_is_found(path: tuple[str, ...], value: Any) -> None:
    run = clean_run()

    def change(envelope: Any) -> None:
        part = envelope["data"][0]
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value

    change_on_topic(run, "caliper", lambda records: [with_changes(records[0], change), *records[1:]])
    assert find(run) == {"I7"}


def test_reason_of_another_dead_letter_is_found() -> None:
    run = run_with_two_dead_letters()
    headers = {**run.readers["during"]["dead-letters"][0].headers, "dead_letter_reason": "too large"}
    change_on_topic(run, "dead-letters", lambda records: [replace(records[0], headers=headers), *records[1:]])
    assert find(run) == {"I7"}


def test_reader_that_was_given_another_key_than_the_topic_has_is_found() -> None:
    run = clean_run()
    records = run.uncommitted["events"]
    run.uncommitted["events"] = [replace(records[0], key="9"), *records[1:]]
    assert find(run) == {"I7"}


def seal(run: Run, comment: str) -> None:
    """Store a comment of the first event encrypted; it is published as it was sent."""
    published = json.loads(run.events[0].data)
    published["payload"]["comment"] = comment
    stored = {**published, "payload": {**published["payload"], "comment": None}, "sealed": [["31", "1", "x"]]}
    run.events[0] = replace(run.events[0], data=json.dumps(stored))
    value = json.dumps(published)
    change_on_topic(run, "events", lambda records: [replace(records[0], value=value), *records[1:]])


def test_what_is_personal_is_published_as_it_was_before_it_was_encrypted() -> None:
    run = clean_run()
    seal(run, SECRET)
    assert check(run) == []
    run.events[0] = replace(run.events[0], data=run.events[0].data.replace("canary-of-1", "another name"))
    assert find(run) == {"I7"}


def test_grade_that_is_posted_is_published_with_the_same_values_as_before() -> None:
    run = clean_run()
    event = next(event for event in run.events if event.type == "grade_published")
    data = {**json.loads(event.data), "payload": {"score": 7, "grade": "7", "grader_id": None, "graded": True}}
    run.events[run.events.index(event)] = replace(event, data=json.dumps(data))

    def publish(live_event: Any) -> None:
        live_event["body"] |= {"old_score": 7, "old_grade": "7", "grader_id": None}

    def score_by_nobody(envelope: Any) -> None:
        del envelope["data"][0]["generated"]["scoredBy"]

    def post(record: TopicRecord) -> TopicRecord:
        headers = {**record.headers, "ce_type": "moderation.submission_posted.v1"}
        return replace(record, value=json.dumps(data), headers=headers)

    change_on_topic(run, "events", lambda records: [post(r) if r.ce_id == event.ce_id else r for r in records])
    assert "I7" in find(run)
    change_on_topic(run, "live-events", lambda records: [with_changes(records[0], publish), *records[1:]])
    change_on_topic(run, "caliper", lambda records: [with_changes(records[0], score_by_nobody), *records[1:]])
    assert "I7" not in find(run)


def test_verdict_without_a_course_has_the_key_of_its_command() -> None:
    run = clean_run()
    row = next(row for row in run.verdicts if row.command_id == "late")
    decide_otherwise(run, row, course_id=None, key="chosen by the producer")
    assert find(run) == {"I7"}
    run.commands = [
        replace(r, key="chosen by the producer") if (r.source, r.partition, r.offset) == row.place else r
        for r in run.commands
    ]
    assert check(run) == []
