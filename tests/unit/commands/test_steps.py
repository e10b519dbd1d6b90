"""Each step of a command between parsing and appending."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.commands.command_state import NO_STATE, CommandState
from services.commands.decision import decide_command
from services.commands.deduplication import Duplicate, deduplicate
from services.commands.incoming_command import IncomingCommand, IncomingDeadLetter, parse_record
from services.commands.serialization import OUTPUT_BYTES_MAX, SerializedCommand, serialize
from services.eventlog.first_verdicts import FirstVerdict
from services.eventlog.store import Stream
from services.kafka.partitioning import SHARD_COUNT, get_course_shard
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.decisions import (
    COMMAND_EXPIRED,
    COMMAND_ID_REUSED,
    NOT_FOUND,
    UNAUTHENTICATED,
    Accepted,
    Rejected,
)
from services.moderation.events import CourseUpdated, SubmissionPosted
from tests.fixtures.command_samples import COMMAND_ID, build_command, encode, replace_field

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
PARTITION = SHARD_COUNT + 1
COURSE_STATE = CommandState(Course(1, 1001), None, Stream(7, 1, 1001, None, 3), 0)
ASSIGNMENT_STATE = CommandState(
    Course(1, 1001), Assignment(8, bytes(16), 1, 1001, 2001, version=4), Stream(8, 1, 1001, 2001, 3), 4
)
REQUEST = {
    "request_id": COMMAND_ID, "session_id": None, "hostname": "canvas.example", "http_method": "PUT",
    "user_agent": None, "client_ip": "10.0.0.1", "url": "https://canvas.example/", "referrer": None,
}  # fmt: skip


def parse_value(value: bytes, headers: Any = ()) -> IncomingCommand | IncomingDeadLetter:
    record = ConsumerRecord("commands", PARTITION, 5, 1, 1, b"k", value, None, 1, len(value), headers)
    return parse_record(record, SHARD_COUNT)


def parse_command(value: bytes | None = None, headers: Any = ()) -> IncomingCommand:
    incoming = parse_value(encode(build_command()) if value is None else value, headers)
    assert isinstance(incoming, IncomingCommand)
    return incoming


def serialize_decision(incoming: IncomingCommand, decision: Any, state: CommandState) -> SerializedCommand:
    return serialize(incoming, decision, state, "2026-01-31T12:00:00.000Z")


def test_command_belongs_to_the_shard_of_its_course() -> None:
    assert parse_command().shard == get_course_shard(1001)


@pytest.mark.parametrize(("key", "is_other"), [(b"1001", False), (b"1002", True), (b"01001", True), (None, True)])
def test_key_that_is_not_the_course_is_recognized(key: bytes | None, is_other: bool) -> None:
    record = replace(parse_command().record, key=key)
    incoming = parse_record(record, SHARD_COUNT)
    assert isinstance(incoming, IncomingCommand)
    assert incoming.has_other_key is is_other


def test_unreadable_record_and_unreadable_course_belong_to_the_shard_of_their_partition() -> None:
    dead_letter = parse_value(b"[]")
    assert (type(dead_letter), dead_letter.shard) == (IncomingDeadLetter, 1)
    assert parse_command(replace_field(build_command(), "course_id", "0")).shard == 1


def test_new_command_id_is_not_a_duplicate() -> None:
    assert deduplicate(parse_command(), {}) is None


def test_repeated_command_gets_the_first_verdict() -> None:
    incoming = parse_command()
    first_verdicts = {incoming.command_key: FirstVerdict(incoming.content_hash, '{"duplicate": false, "events": 2}')}
    duplicate = deduplicate(incoming, first_verdicts)
    assert isinstance(duplicate, Duplicate)
    serialized = serialize_decision(incoming, duplicate, ASSIGNMENT_STATE)
    assert json.loads(serialized.verdict_body) == {"duplicate": True, "events": 2}
    assert (serialized.is_first, serialized.events) == (False, [])


def test_command_id_with_other_content_is_rejected() -> None:
    incoming = parse_command()
    assert deduplicate(incoming, {incoming.command_key: FirstVerdict(b"other", "{}")}) is COMMAND_ID_REUSED
    archived = {incoming.command_key: FirstVerdict(incoming.content_hash, None)}
    assert deduplicate(incoming, archived) is COMMAND_EXPIRED


def test_command_id_of_another_root_account_is_new() -> None:
    incoming = parse_command()
    assert deduplicate(incoming, {(COMMAND_ID, 2): FirstVerdict(incoming.content_hash, "{}")}) is None


def test_invalid_command_is_rejected_with_its_errors_and_without_a_stream_version() -> None:
    incoming = parse_command(replace_field(build_command(), "data.score", '"7"'))
    decision = decide_command(incoming, NO_STATE, AT)
    assert isinstance(decision, Rejected)
    verdict = json.loads(serialize_decision(incoming, decision, NO_STATE).verdict_body)
    assert [error["path"] for error in verdict["errors"]] == ["data.score"]
    assert (verdict["reason"], verdict["stream_version"]) == ("invalid_command", None)


@pytest.mark.parametrize(
    ("decision", "is_first"),
    [
        (Accepted(()), True),
        (NOT_FOUND, True),
        (UNAUTHENTICATED, False),
        (COMMAND_ID_REUSED, False),
        (COMMAND_EXPIRED, False),
    ],
    ids=["accepted", "rejected", "unauthenticated", "reused", "expired"],
)
def test_only_a_decision_on_content_settles_the_command_id(decision: Any, is_first: bool) -> None:
    assert serialize_decision(parse_command(), decision, ASSIGNMENT_STATE).is_first == is_first


def test_command_without_a_readable_root_account_does_not_settle_its_command_id() -> None:
    incoming = parse_command(replace_field(build_command(), "root_account_id", "0"))
    assert not serialize_decision(incoming, decide_command(incoming, NO_STATE, AT), NO_STATE).is_first


def test_event_and_verdict_carry_the_version_of_the_stream_after_them() -> None:
    incoming = parse_command(encode(build_command("upsert_course")))
    events = (CourseUpdated(changes={"name": (None, "A")}), CourseUpdated(changes={"name": ("A", "B")}))
    serialized = serialize_decision(incoming, Accepted(events), COURSE_STATE)
    assert [json.loads(event.data)["stream_version"] for event in serialized.events] == [1, 2]
    assert json.loads(serialized.verdict_body)["stream_version"] == 2


def test_event_that_is_too_large_to_publish_rejects_its_command() -> None:
    incoming = parse_command(encode(build_command("upsert_course")))
    too_large = Accepted((CourseUpdated(changes={"name": (None, "n" * OUTPUT_BYTES_MAX)}),))
    serialized = serialize_decision(incoming, too_large, COURSE_STATE)
    assert (json.loads(serialized.verdict_body)["reason"], serialized.events) == ("invalid_command", [])
    assert serialized.is_first


@pytest.mark.parametrize("may_carry_request", [True, False], ids=["gateway's token", "user's token"])
def test_only_a_gateway_states_the_http_request_of_a_grade_change(may_carry_request: bool) -> None:
    headers = (("http_request", json.dumps(REQUEST).encode()),)
    incoming = parse_command(headers=headers).with_authorization(None, may_carry_request)
    posted = SubmissionPosted(
        student_id=31, submission_id=501, posted_at=AT, score=None, grade=None, grader_id=21, graded=True
    )
    serialized = serialize_decision(incoming, Accepted((posted,)), ASSIGNMENT_STATE)
    assert (serialized.events[0].request is not None) == may_carry_request
    assert "request" not in json.loads(serialized.events[0].metadata)
