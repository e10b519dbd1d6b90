"""Published records, byte for byte: consumers, replays and the verifier compare them with those of earlier releases."""

import base64
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from services.eventlog.feeds import DeadLetterRow, EventRow, FeedReader, FeedRow, VerdictRow
from services.kafka.records import OutgoingRecord
from services.publishing.cloudevents import PublishingFormat
from services.publishing.record_headers import mark_replayed
from services.publishing.record_mapper import RecordMapper

# Made by the relay of commit 9b09f7e. A line changes only with the contract.
GOLDEN = Path(__file__).with_name("published_records.jsonl")
FORMAT = PublishingFormat("https://lms.example.edu", lms_url="https://canvas.example.edu")
RECORDED_AT = datetime(2026, 11, 29, 3, 59, 21, 983_999, UTC)
CAUSE = {"id": "242b6fe2-8646-4340-aca6-b70c289de011", "command_id": "902c29cd-accb-42ed-8887-fab86d9c2fef"}
TRACED = {
    "correlation_id": "Prüfung \u2116 1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
GRADE_CHANGE = {
    "live_id": "30b48de6-20cc-45ad-8437-3b67ac7d2a03",
    "caliper_id": "9d7e7d0e-9a3d-4e0e-a5ea-6d0a4ab5c1a5",
    "student_id": 101,
    "live": {
        "root_account_uuid": "uuid",
        "root_account_lti_guid": "guid",
        "account_id": 3,
        "sis_source_id": None,
        "job_tag": "Assignment#publish",
        "assignment_name": "Essay",
        "grade": "8",
        "old_grade": None,
        "score": 8,
        "old_score": None,
        "points_possible": 10,
        "grader_id": 2,
        "grading_complete": True,
        "muted": False,
    },
}
REQUEST = {
    "client_ip": "192.0.2.1",
    "hostname": "lms.example.edu",
    "http_method": "POST",
    "referrer": None,
    "request_id": "r-1",
    "session_id": "s-1",
    "url": "https://lms.example.edu/publish",
    "user_agent": "test",
    "context_role": "TeacherEnrollment",
}


class StatedUsers(FeedReader):
    """A log in which the student and the teacher have SIS ids and logins."""

    def __init__(self) -> None:
        pass

    async def users_updated_events(
        self, root_account: int, course: int, after_position: int, before_position: int
    ) -> AsyncGenerator[list[tuple[int, str | None]], None]:
        users = [{"user_id": str(n), "sis_user_id": f"sis-{n}", "login_id": f"login-{n}"} for n in (2, 101)]
        yield [(1, orjson.dumps({"payload": {"users": users}}).decode())]


def event(
    metadata: dict[str, object], assignment: int | None = 100_100, live_number: int | None = None, course: int = 1_001
) -> EventRow:
    data = orjson.dumps({"user_id": "2", "submission_id": "77", "payload": {"comment": "schön"}}).decode()
    metadata_text = orjson.dumps({**CAUSE, **metadata}).decode()
    name = "provisional_grade_created" if live_number is None else "grade_published"
    return EventRow(1, 12_345, live_number, 1, course, assignment, name, data, metadata_text, RECORDED_AT, 7)


def verdict(**metadata: object) -> VerdictRow:
    fields = {"time": "2026-11-29T03:59:21.983Z", "root_account_id": 1, "course_id": 1_001, "assignment_id": 100_100}
    body = '{"status": "accepted", "message": "schön"}'
    return VerdictRow(5, 9, b"1001", body, orjson.dumps({**CAUSE, **fields, "actor_id": 2, **metadata}).decode())


RECEIVED_HEADERS = orjson.dumps([[base64.b64encode(b"x").decode(), None], ["eQ==", "/w=="]])
LETTER = DeadLetterRow(2, 3, None, b"\xff", RECEIVED_HEADERS, "unreadable", "not JSON", "commands", 4, 5, 6)
ALL_OUTPUTS = ("events", "live-events", "caliper")
ROWS: list[tuple[FeedRow, tuple[str, ...]]] = [
    (event({"student_id": 101}), ("events",)),
    (event({"student_id": 101, **TRACED}), ("events",)),
    (event({}), ("events",)),
    (event({}, assignment=None), ("events",)),
    (event({"student_id": 101}, assignment=None, course=(1 << 63) - 1), ("events",)),
    (event(GRADE_CHANGE, live_number=6), ALL_OUTPUTS),
    (event({**GRADE_CHANGE, **TRACED, "request": REQUEST}, live_number=7), ALL_OUTPUTS),
    (event(GRADE_CHANGE, live_number=8), ("caliper",)),
    (verdict(), ("verdicts",)),
    (verdict(assignment_id=None, **TRACED), ("verdicts",)),
    (verdict(course_id=None), ("verdicts",)),
    (verdict(root_account_id=None), ("verdicts",)),
    (verdict(root_account_id=0), ("verdicts",)),
    (LETTER, ("dead-letters",)),
]


def to_line(record: OutgoingRecord) -> bytes:
    texts = [None if part is None else part.decode("latin-1") for part in (record.key, record.value)]
    headers = [(name, None if value is None else value.decode("latin-1")) for name, value in record.headers]
    return orjson.dumps([record.topic, record.shard, *texts, headers])


async def map_all() -> list[OutgoingRecord]:
    mapper = RecordMapper(StatedUsers(), FORMAT)
    return [record for row, outputs in ROWS for record in await mapper.map_row(row, outputs)]


async def test_records_are_the_same_bytes_as_before() -> None:
    records = await map_all()
    replayed = [mark_replayed(records[0]), mark_replayed(records[1], "selection")]
    assert [to_line(record) for record in [*records, *replayed]] == GOLDEN.read_bytes().splitlines()


async def test_row_without_a_grade_change_is_mapped_alike_without_a_coroutine() -> None:
    mapper = RecordMapper(StatedUsers(), FORMAT)
    for row, outputs in ROWS:
        if len(outputs) == 1 and outputs[0] != "caliper":
            assert [mapper.map_stored_row(row)] == await mapper.map_row(row, outputs)


async def test_grade_change_without_its_own_id_is_never_published() -> None:
    mapper = RecordMapper(StatedUsers(), FORMAT)
    without_id = {name: value for name, value in GRADE_CHANGE.items() if name != "live_id"}
    with pytest.raises(ValueError, match="live_id"):
        await mapper.map_row(event(without_id, live_number=6), ALL_OUTPUTS)
