"""The bytes that the log keeps: verdicts and events as they will be published, encoded once."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from schemas.reasons import ACCEPTED_STATUS, REASONS
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decisions import Accepted, Rejected
from services.moderation.event_payloads import to_payload
from services.moderation.events import Event
from services.moderation.grade_changes import describe_grade_change

OUTPUT_BYTES_MAX = 3 << 20
HTTP_STATUS_BY_REASON: Mapping[str, int] = {reason: info.http_status for reason, info in REASONS.items()}
TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _generate_uuids() -> list[str]:
    # Many at a time: one draw of the system's for each id took a tenth of the time of deciding a command.
    random_hex = os.urandom(16 * 256).hex()
    hex_ids = (random_hex[start : start + 32] for start in range(0, len(random_hex), 32))
    return [
        f"{hex_id[:8]}-{hex_id[8:12]}-4{hex_id[13:16]}-{_VARIANT[hex_id[16]]}{hex_id[17:20]}-{hex_id[20:]}"
        for hex_id in hex_ids
    ]


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_UUID_POOL: list[str] = []


def generate_uuid4() -> str:
    """A random UUID (version 4) as text. Any thread may ask."""
    while True:
        try:
            return _UUID_POOL.pop()
        except IndexError:
            _UUID_POOL.extend(_generate_uuids())


def format_time(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def build_causation_metadata(command_id: str, correlation_id: str | None, traceparent: str | None) -> dict[str, Any]:
    """What everything that follows from a record carries in its headers."""
    metadata: dict[str, Any] = {"id": generate_uuid4(), "command_id": command_id}
    if correlation_id is not None:
        metadata["correlation_id"] = correlation_id
    if traceparent is not None:
        metadata["traceparent"] = traceparent
    return metadata


def parse_traceparent(record: ConsumerRecord[Any, Any]) -> str | None:
    """The record's W3C traceparent if it is a valid one of version 00; only the first such header counts."""
    for name, value in record.headers:
        if name == "traceparent":
            return value.decode() if value is not None and TRACEPARENT.fullmatch(value) else None
    return None


def encode_event(
    event: Event, command: Command, stream_version: int, recorded_at: str, is_assignment_event: bool
) -> bytes:
    """The value on the events topic (contract section 5)."""
    student_id, submission_id = getattr(event, "student_id", None), getattr(event, "submission_id", None)
    return orjson.dumps(
        {
            "user_id": None if command.actor_id is None else str(command.actor_id),
            "root_account_id": str(command.root_account_id),
            "course_id": str(command.course_id),
            "assignment_id": str(command.assignment_id) if is_assignment_event else None,
            "student_id": None if student_id is None else str(student_id),
            "submission_id": None if submission_id is None else str(submission_id),
            "stream_version": stream_version,
            "recorded_at": recorded_at,
            "payload": to_payload(event),
        }
    )


def build_grade_change_snapshot(event: Event, course: Course, assignment: Assignment) -> dict[str, Any] | None:
    """What the grade_change of an event needs besides the event itself; None where none follows.

    No names of people and no SIS ids of theirs. ``course``, ``assignment``: as they were before the event.
    """
    grade_change = describe_grade_change(event, course, assignment) if event.may_change_grade else None
    if grade_change is None:
        return None
    return complete_grade_change(grade_change, course, assignment)


def complete_grade_change(grade_change: dict[str, Any], course: Course, assignment: Assignment) -> dict[str, Any]:
    """The facts of a grade_change with those of its assignment and course."""
    return {
        "assignment_name": assignment.name,
        "points_possible": None if assignment.points_possible is None else float(assignment.points_possible),
        "account_id": course.account_id,
        "sis_source_id": course.sis_source_id,
        "root_account_uuid": course.root_account_uuid,
        "root_account_lti_guid": course.root_account_lti_guid,
        **grade_change,
    }


def encode_accepted_verdict(
    command: Command, accepted: Accepted, stream_version: int, decided_at: str, correlation_id: str | None
) -> bytes:
    """The verdict of an accepted command (contract section 4)."""
    return _encode_verdict(
        command.command_id,
        command.root_account_id,
        command.type,
        command.course_id,
        command.assignment_id,
        stream_version,
        decided_at,
        correlation_id,
        status="accepted",
        http_status=ACCEPTED_STATUS,
        events=len(accepted.events),
        result=accepted.result,
    )


def encode_rejected_verdict(
    command_id: str,
    root_account_id: int | None,
    command_type: str | None,
    course_id: int | None,
    assignment_id: int | None,
    rejected: Rejected,
    errors: Sequence[dict[str, str]],
    stream_version: int | None,
    decided_at: str,
    correlation_id: str | None,
) -> bytes:
    """The verdict of a refused command."""
    return _encode_verdict(
        command_id,
        root_account_id,
        command_type,
        course_id,
        assignment_id,
        stream_version,
        decided_at,
        correlation_id,
        status="rejected",
        reason=rejected.reason,
        error_code=rejected.error_code,
        message=rejected.message,
        http_status=HTTP_STATUS_BY_REASON[rejected.reason],
        errors=list(errors),
    )


def encode_duplicate_verdict(body: str) -> bytes:
    """The first verdict again, equal in all but ``duplicate``."""
    return orjson.dumps({**orjson.loads(body), "duplicate": True})


def _encode_verdict(
    command_id: str,
    root_account_id: int | None,
    command_type: str | None,
    course_id: int | None,
    assignment_id: int | None,
    stream_version: int | None,
    decided_at: str,
    correlation_id: str | None,
    *,
    status: str,
    http_status: int,
    reason: str | None = None,
    error_code: str | None = None,
    message: str | None = None,
    errors: Sequence[dict[str, str]] = (),
    events: int = 0,
    result: Any = None,
) -> bytes:
    return orjson.dumps(
        {
            "command_id": command_id,
            "root_account_id": _format_id(root_account_id),
            "type": command_type,
            "status": status,
            "reason": reason,
            "error_code": error_code,
            "message": message,
            "http_status": http_status,
            "errors": errors,
            "course_id": _format_id(course_id),
            "assignment_id": _format_id(assignment_id),
            "stream_version": stream_version,
            "events": events,
            "result": result,
            "decided_at": decided_at,
            "duplicate": False,
            "correlation_id": correlation_id,
        }
    )


def _format_id(identifier: int | None) -> str | None:
    return None if identifier is None else str(identifier)


def encode_headers(record: ConsumerRecord[Any, Any]) -> bytes:
    """A dead letter's headers, byte for byte but for ``authorization``; an escaped name was not UTF-8 when it came."""
    return orjson.dumps(
        [
            [base64.b64encode(name.encode()).decode(), None if value is None else base64.b64encode(value).decode()]
            for name, value in record.headers
            if name.lower() != "authorization"
        ]
    )
