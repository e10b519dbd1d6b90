"""Outputs match their schemas: verdicts, domain events and grade changes of a whole season."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any, get_args

import orjson
import pytest
from pydantic import ValidationError

from schemas.domain_events import EVENTS, DomainEvent, EventName
from schemas.fields import format_time
from schemas.live_events import GradeChange
from schemas.reasons import REASONS, Reason
from schemas.verdicts import Verdict
from services.commands.decision import reject_invalid_command
from services.commands.event_metadata import complete_grade_change
from services.commands.parse import InvalidCommand, ParsedCommand, parse
from services.commands.serialization import build_event
from services.commands.verdict_body import encode_duplicate_verdict, encode_verdict
from services.eventlog.feeds import EventRow
from services.gateway.responses import parse_verdict
from services.moderation import decisions
from services.moderation.commands import Command
from services.moderation.decisions import Accepted, Decision, Rejected
from services.moderation.events import Event
from services.publishing.canvas_live_events import build_grade_change
from services.publishing.cloudevents import PublishingFormat, decode_grade_change_cause
from services.publishing.record_mapper import GRADE_CHANGE_BUILDERS
from services.publishing.user_history import NO_USER, EventUsers, UserIdentifiers
from tests.fixtures.command_samples import DATA, TIME, Json, build_command, encode, replace_field
from tests.fixtures.in_memory_course import InMemoryCourse

ID = "5b0e2f52-7c41-4f0e-9a53-2f6f0b7f9a10"
FORM = PublishingFormat("urn:test", 8800, "http://canvas.example.test/")
AT = datetime(2026, 1, 31, 12, 0, 0, 89_000, tzinfo=UTC)
FINAL_GRADER, TA, OTHER_TA, ANN, BEN = 11, 21, 22, 31, 32
ESSAY = {
    "name": "Essay", "points_possible": 10, "grading_type": "points", "moderated_grading": True, "grader_count": 2,
    "final_grader_id": FINAL_GRADER,
}  # fmt: skip
PEOPLE = [
    (FINAL_GRADER, "TeacherEnrollment"),
    (TA, "TaEnrollment"),
    (OTHER_TA, "TaEnrollment"),
    (ANN, "StudentEnrollment"),
    (BEN, "StudentEnrollment"),
]
ROSTER = {"enrollments": [{"user_id": user, "type": kind, "state": "active"} for user, kind in PEOPLE]}
FIRST_GRADE = 1 << 20 | 1
SAMPLE_COMMANDS: list[tuple[str, Json, int | None]] = [
    ("upsert_course", DATA["upsert_course"], None),
    ("upsert_users", DATA["upsert_users"], None),
    ("upsert_enrollments", ROSTER, None),
    ("upsert_admins", DATA["upsert_admins"], None),
    ("configure_assignment", ESSAY, None),
    ("configure_assignment", {"name": "Essay 2", "moderation_set": "selected"}, None),
    ("record_submission", {"student_id": ANN, "attempt": 1, "submitted_at": TIME, "score": 3, "grade": "3"}, None),
    ("record_submission_comment", {"student_id": ANN, "author_id": TA, "comment": "Late."}, None),
    ("record_provisional_grade", {"student_id": ANN, "score": 7.25, "rubric_assessment": {"a": {"points": 1}}}, TA),
    ("record_provisional_grade", {"student_id": ANN, "score": 8, "comment": "Better."}, TA),
    ("record_provisional_comment", {"student_id": ANN, "comment": "Good."}, TA),
    ("record_provisional_grade", {"student_id": BEN, "score": 5}, TA),
    ("record_provisional_grade", {"student_id": BEN, "excuse": True}, FINAL_GRADER),
    ("record_provisional_grade", {"student_id": BEN, "posted_grade": "6"}, FINAL_GRADER),
    ("draw_moderation_sample", {"percent": 1, "include": ["failing"]}, FINAL_GRADER),
    ("select_students_for_moderation", {"student_ids": [ANN, BEN]}, FINAL_GRADER),
    ("select_provisional_grade", {"provisional_grade_id": FIRST_GRADE}, TA),
    ("select_provisional_grade", {"provisional_grade_id": FIRST_GRADE}, FINAL_GRADER),
    ("bulk_select_provisional_grades", {"provisional_grade_ids": [FIRST_GRADE + 1]}, FINAL_GRADER),
    ("post_grades", {}, None),
    ("draw_moderation_sample", {"strata": 2}, FINAL_GRADER),
    (
        "allocate_submissions",
        {"allocations": [{"grader_id": TA, "student_ids": [BEN]}], "enforced": True},
        FINAL_GRADER,
    ),
    ("allocate_submissions", {"enforced": True}, FINAL_GRADER),
    ("record_provisional_comment", {"student_id": BEN, "comment": "Read."}, OTHER_TA),
    ("allocate_submissions", {"evenly": {"grader_ids": [TA], "marks": 1}, "enforced": False}, FINAL_GRADER),
    ("release_grader_slot", {"grader_id": TA}, FINAL_GRADER),
    ("record_provisional_comment", {"student_id": ANN, "comment": "Read."}, OTHER_TA),
    ("release_grader_slot", {"grader_id": OTHER_TA}, FINAL_GRADER),
    ("adjudicate_provisional_grades", {}, FINAL_GRADER),
    ("set_adjudication_policy", {"adjudication": {"result": "mean", "third": "median"}}, FINAL_GRADER),
    ("set_adjudication_policy", {"adjudication": {"result": "mean", "boundaries": "grading_scheme"}}, FINAL_GRADER),
    ("adjudicate_provisional_grades", {"student_ids": [ANN, BEN]}, FINAL_GRADER),
    ("plan_publication", {}, FINAL_GRADER),
    ("publish_provisional_grades", {"plan_digest": f"sha256:{'0' * 64}"}, FINAL_GRADER),
    ("cancel_scheduled_publication", {}, FINAL_GRADER),
    ("schedule_publication", {"publish_at": "2020-01-01T00:00:00Z"}, FINAL_GRADER),
    ("schedule_publication", {"publish_at": "2026-02-28T00:00:00Z"}, FINAL_GRADER),
    ("cancel_scheduled_publication", {}, FINAL_GRADER),
    ("publish_provisional_grades", {}, None),
    ("publish_provisional_grades", {}, FINAL_GRADER),
    ("publish_provisional_grades", {}, FINAL_GRADER),
    ("post_grades", {}, None),
    ("hide_grades", {"student_ids": [ANN]}, None),
    ("erase_person", {"user_id": DATA["upsert_users"]["users"][0]["user_id"]}, None),
    ("revise_published_grade", {"student_id": ANN, "score": 7, "reason": "Checked."}, FINAL_GRADER),
    ("withdraw_published_grade", {"student_id": ANN, "reason": "Another student's work."}, FINAL_GRADER),
]  # fmt: skip


class SampleOutputs:
    """The outputs of a season: verdicts with their decisions, and events with their grade changes."""

    def __init__(self) -> None:
        self.memory = InMemoryCourse()
        self.verdicts: list[tuple[Decision, bytes]] = []
        self.events: list[tuple[Event, bytes]] = []
        self.changes: list[bytes] = []
        self.envelopes: list[bytes] = []
        for kind, data, actor in SAMPLE_COMMANDS:
            command_json = build_command(
                kind, data=data, command_id=str(uuid.uuid4()), actor=actor and {"user_id": actor}
            )
            parsed = parse(encode(command_json))
            assert isinstance(parsed, ParsedCommand)
            self._decide(parsed.command)

    def _decide(self, asked: Command) -> None:
        before = len(self.memory.log)
        decision = self.memory.decide(asked)
        self.verdicts.append((decision, encode_verdict(asked, decision, 1, format_time(AT), "c-1")))
        for position, (_, event, _) in enumerate(self.memory.log[before:], before + 1):
            value = orjson.dumps(build_event(event, asked, position, format_time(AT), asked.assignment_id is not None))
            self.events.append((event, value))
            change = self.memory.grade_changes[position - 1]
            if change is not None:
                self._publish(asked, event, value, position, change)

    def _publish(self, asked: Command, event: Event, value: bytes, position: int, grade_change: Json) -> None:
        assert asked.assignment_id is not None
        course, assignment = self.memory.courses[asked.course_id], self.memory.assignments[asked.assignment_id]
        metadata: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "command_id": asked.command_id,
            "live_id": str(uuid.uuid4()),
            "caliper_id": str(uuid.uuid4()),
            "live": complete_grade_change(grade_change, course, assignment),
            "student_id": json.loads(value)["student_id"] and int(json.loads(value)["student_id"]),
        }
        row = EventRow(5, position, 1, 1, 1001, 2001, event.name, value.decode(), "", AT, 1)
        made = build_grade_change(row, metadata, EventUsers(UserIdentifiers("S-31"), NO_USER), FORM)
        cause = decode_grade_change_cause(orjson.dumps(metadata))
        change, envelope = (
            GRADE_CHANGE_BUILDERS[topic](row, cause, made, FORM) for topic in ("live-events", "caliper")
        )
        assert change.value is not None
        assert envelope.value is not None
        self.changes.append(change.value)
        self.envelopes.append(envelope.value)


@pytest.fixture(scope="module")
def sample_outputs() -> SampleOutputs:
    return SampleOutputs()


def test_every_sample_verdict_matches_the_schema(sample_outputs: SampleOutputs) -> None:
    for decision, value in sample_outputs.verdicts:
        verdict = Verdict.model_validate_json(value)
        assert (verdict.status == "accepted") == isinstance(decision, Accepted)
        assert list(json.loads(value)) == list(Verdict.model_fields)
    assert {
        verdict.status for _, value in sample_outputs.verdicts if (verdict := Verdict.model_validate_json(value))
    } == {
        "accepted",
        "rejected",
    }


def test_ids_of_results_are_strings_on_the_topic_and_integers_over_http(sample_outputs: SampleOutputs) -> None:
    for decision, value in sample_outputs.verdicts:
        result, expected = json.loads(value)["result"], getattr(decision, "result", None)
        assert parse_verdict(value.decode())["result"] == expected
        for row in result if isinstance(result, list) else [result or {}]:
            names = [name for name in row if name == "id" or name.endswith("_id")]
            assert all(isinstance(row[name], str) for name in names), row


def test_anonymous_id_of_digits_stays_a_string() -> None:
    body = json.dumps({"result": [{"assignment_id": "9", "anonymous_id": "12345"}]})
    assert parse_verdict(body)["result"] == [{"assignment_id": 9, "anonymous_id": "12345"}]


def test_duplicate_verdict_differs_only_in_the_duplicate_flag(sample_outputs: SampleOutputs) -> None:
    for _, value in sample_outputs.verdicts:
        repeated = Verdict.model_validate_json(encode_duplicate_verdict(value.decode()))
        assert repeated == Verdict.model_validate_json(value).model_copy(update={"duplicate": True})


def test_verdict_of_an_invalid_command_matches_the_schema() -> None:
    for path, text in (("root_account_id", "0"), ("type", "7"), ("version", "2"), ("data.score", '"7"')):
        parsed = parse(replace_field(build_command(), path, text))
        assert isinstance(parsed, InvalidCommand)
        rejection = reject_invalid_command(parsed)
        value = encode_verdict(parsed, rejection, 0, format_time(AT), parsed.correlation_id)
        verdict = Verdict.model_validate_json(value)
        assert verdict.errors
        assert verdict.stream_version is None


def test_every_rejection_reason_is_explained() -> None:
    refusals = {part.reason for part in vars(decisions).values() if isinstance(part, Rejected)}
    refusals |= {decisions.field_required("x").reason, "unsupported_version"}
    assert refusals == set(get_args(Reason)) == set(REASONS)


def test_sample_events_match_the_schema_and_cover_every_name(sample_outputs: SampleOutputs) -> None:
    for event, value in sample_outputs.events:
        EVENTS[event.name].model_validate_json(value)
        assert list(json.loads(value)) == list(DomainEvent.model_fields)
    assert {event.name for event, _ in sample_outputs.events} == set(get_args(EventName)) == set(EVENTS)


def test_sample_grade_changes_equal_the_canvas_shape(sample_outputs: SampleOutputs) -> None:
    changes = [GradeChange.model_validate_json(value) for value in sample_outputs.changes]
    assert [getattr(change.metadata, "job_tag", None) for change in changes] == [
        "Assignment#grade_student", "Assignment#grade_student", "Moderation#publish", "Moderation#publish",
        "Assignment#post_submissions", "Assignment#post_submissions", "Assignment#hide_submissions",
        "Assignment#grade_student", "Assignment#grade_student",
    ]  # fmt: skip
    published = changes[2]
    assert published.body.model_dump(include={"score", "old_score", "grade", "old_grade", "muted", "grader_id"}) == {
        "score": 8.0, "old_score": 3.0, "grade": "8", "old_grade": "3", "muted": True,
        "grader_id": f"8800{TA:013d}",
    }  # fmt: skip
    assert [change.body.muted for change in changes[4:]] == [False, False, True, True, True]


JOB_SAMPLE: dict[str, Json] = {
    "metadata": {
        "job_id": "88000000000412", "job_tag": "Moderation#publish", "producer": "canvas",
        "root_account_id": "88000000000001", "root_account_uuid": "q7TfG2mZr0XbLwYh3KsVn5PdAeUc8JiOx1NtRz4M",
        "root_account_lti_guid": "5c1e0b7a9d.canvas.example.test", "context_type": "Course",
        "context_id": "88000000000731", "context_account_id": "88000000000009", "context_sis_source_id": None,
        "event_name": "grade_change", "event_time": "2031-03-04T05:06:07.089Z",
    },
    "body": {
        "submission_id": "88000000005150", "assignment_id": "88000000000867", "assignment_name": "Essay 2",
        "grade": "17.5", "old_grade": None, "score": 17.5, "old_score": None, "points_possible": 20.0,
        "old_points_possible": 20.0, "grader_id": "88000000000222", "student_id": "88000000000333",
        "student_sis_id": "S-0333", "user_id": "88000000000333", "grading_complete": True, "muted": True,
    },
}  # fmt: skip
REQUEST: Json = {
    "client_ip": "198.51.100.7", "context_role": "TeacherEnrollment", "hostname": "canvas.example.test",
    "http_method": "POST", "referrer": None, "request_id": "0d3b8a52-6a2e-4b59-9c44-0f6a3c1d7e21",
    "session_id": "00112233445566778899aabbccddeeff", "time_zone": "Europe/Berlin",
    "url": "https://canvas.example.test/api/v1/courses/731/assignments/867/provisional_grades/publish",
    "user_account_id": "88000000000001", "user_agent": "example/1.0", "user_id": "88000000000111",
    "user_login": "final.grader@example.test", "user_sis_id": None,
}  # fmt: skip
REQUEST_SAMPLE: dict[str, Json] = {
    "metadata": {**{k: v for k, v in JOB_SAMPLE["metadata"].items() if not k.startswith("job_")}, **REQUEST},
    "body": JOB_SAMPLE["body"],
}
OPTIONAL_KEYS = {"context_role"}


@pytest.mark.parametrize("sample", [JOB_SAMPLE, REQUEST_SAMPLE], ids=["job", "request"])
def test_sample_grade_change_is_valid_and_every_key_is_required(sample: dict[str, Json]) -> None:
    GradeChange.model_validate_json(orjson.dumps(sample))
    for part in ("metadata", "body"):
        for key in set(sample[part]) - OPTIONAL_KEYS:
            lacking = {**sample, part: {name: value for name, value in sample[part].items() if name != key}}
            with pytest.raises(ValidationError):
                GradeChange.model_validate_json(orjson.dumps(lacking))


# Column widths of the best-known consumer; its ids are 64-bit integers.
WIDTHS = {
    "producer": 12, "event_name": 12, "request_id": 36, "session_id": 32, "user_agent": 512, "job_tag": 100,
}  # fmt: skip


def test_generated_values_fit_the_column_widths_of_consumers(sample_outputs: SampleOutputs) -> None:
    for change in [REQUEST_SAMPLE, *map(json.loads, sample_outputs.changes)]:
        metadata = change["metadata"]
        assert all(len(metadata[name]) <= width for name, width in WIDTHS.items() if name in metadata)
        ids = [value for part in change.values() for name, value in part.items() if name.endswith("_id")]
        numbers = [int(value) for value in ids if value is not None and value.isdecimal()]
        assert len(numbers) >= 8
        assert max(numbers) < 2**63
    too_long = {**REQUEST_SAMPLE, "metadata": {**REQUEST_SAMPLE["metadata"], "user_agent": "x" * 513}}
    with pytest.raises(ValidationError):
        GradeChange.model_validate_json(orjson.dumps(too_long))


def test_request_metadata_is_valid_without_user_or_login() -> None:
    metadata = REQUEST_SAMPLE["metadata"]
    without_login = {k: v for k, v in metadata.items() if k not in ("user_login", "user_account_id", "user_sis_id")}
    nobody = {k: v for k, v in without_login.items() if k not in ("user_id", "time_zone", "context_role")}
    for fewer in (without_login, nobody):
        GradeChange.model_validate_json(orjson.dumps({**REQUEST_SAMPLE, "metadata": fewer}))


@pytest.mark.parametrize("sample", [JOB_SAMPLE, REQUEST_SAMPLE], ids=["job", "request"])
@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("metadata", "job_id", 412), ("metadata", "job_tag", "publish"), ("metadata", "developer_key_id", 1),
        ("metadata", "producer", "us"), ("metadata", "event_time", "2031-03-04T05:06:07Z"),
        ("metadata", "context_type", "Account"), ("metadata", "hostname", "no host"), ("metadata", "user_id", None),
        ("metadata", "user_login", None), ("metadata", "client_ip", "here"), ("body", "course_id", "1"),
        ("body", "submission_id", 5150), ("body", "score", "17.5"), ("body", "muted", None), ("body", "user_id", "1"),
        ("body", "grade", 17.5),
    ],
)  # fmt: skip
def test_grade_change_of_another_shape_is_rejected(sample: dict[str, Json], part: str, key: str, value: Any) -> None:
    with pytest.raises(ValidationError):
        GradeChange.model_validate_json(orjson.dumps({**sample, part: {**sample[part], key: value}}))


@pytest.mark.parametrize(
    "change",
    [
        {"http_status": 400}, {"reason": None}, {"message": None}, {"events": 1}, {"result": {}}, {"decided_at": TIME},
        {"root_account_id": 1}, {"reason": "bad_luck"}, {"status": "accepted"}, {"surprise": 1}, {"errors": ["x"]},
    ],
)  # fmt: skip
def test_contradictory_verdict_is_rejected(change: Json, sample_outputs: SampleOutputs) -> None:
    refusal = next(
        json.loads(v) for d, v in sample_outputs.verdicts if isinstance(d, Rejected) and d.reason == "unauthorized"
    )
    Verdict.model_validate_json(orjson.dumps(refusal))
    with pytest.raises(ValidationError):
        Verdict.model_validate_json(orjson.dumps({**refusal, **change}))
