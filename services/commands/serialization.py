"""The bytes that the log keeps: verdicts and events as they will be published, encoded once."""

import base64
import os
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decisions import HTTP_STATUS, Accepted, Rejected
from services.moderation.event_payloads import to_payload
from services.moderation.events import Event, GradePublished

OUTPUT_BYTES_MAX = 3 << 20
HTTP_ACCEPTED = 200
TRACEPARENT = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def _random_uuids() -> list[str]:
    # Many at a time: one draw of the system's for each id took a tenth of the time of deciding a command.
    drawn = os.urandom(16 * 256).hex()
    found = (drawn[start : start + 32] for start in range(0, len(drawn), 32))
    return [f"{u[:8]}-{u[8:12]}-4{u[13:16]}-{_VARIANT[u[16]]}{u[17:20]}-{u[20:]}" for u in found]


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_UUIDS: list[str] = []


def uuid4_text() -> str:
    """A random UUID (version 4) as text. Any thread may ask."""
    while True:
        try:
            return _UUIDS.pop()
        except IndexError:
            _UUIDS.extend(_random_uuids())


def time_text(at: datetime) -> str:
    """RFC 3339, UTC, milliseconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def cause(command_id: str, correlation_id: str | None, traceparent: str | None) -> dict[str, Any]:
    """What everything that follows from a record carries in its headers."""
    found: dict[str, Any] = {"id": uuid4_text(), "command_id": command_id}
    if correlation_id is not None:
        found["correlation_id"] = correlation_id
    if traceparent is not None:
        found["traceparent"] = traceparent
    return found


def traceparent_of(record: ConsumerRecord[Any, Any]) -> str | None:
    """The record's W3C traceparent if it is a valid one of version 00; only the first such header counts."""
    for name, value in record.headers:
        if name == "traceparent":
            return value.decode() if value is not None and TRACEPARENT.fullmatch(value) else None
    return None


def event_json(event: Event, command: Command, version: int, at_text: str, of_assignment: bool) -> bytes:
    """The value on the events topic (contract section 5)."""
    student, submission = getattr(event, "student_id", None), getattr(event, "submission_id", None)
    return orjson.dumps(
        {
            "user_id": None if command.actor_id is None else str(command.actor_id),
            "root_account_id": str(command.root_account_id),
            "course_id": str(command.course_id),
            "assignment_id": str(command.assignment_id) if of_assignment else None,
            "student_id": None if student is None else str(student),
            "submission_id": None if submission is None else str(submission),
            "stream_version": version,
            "recorded_at": at_text,
            "payload": to_payload(event),
        }
    )


def live_facts(event: Event, course: Course, assignment: Assignment) -> dict[str, Any]:
    """What a grade_change needs besides the event itself; no names of people and no SIS ids of theirs."""
    facts = event.grade_change()
    submission = assignment.submission(getattr(event, "student_id", 0))
    if isinstance(event, GradePublished):
        # Publishing posts nothing, and hides nothing that the LMS had posted before.
        facts["muted"] = submission.posted_at is None
    return {
        "assignment_name": assignment.name,
        "points_possible": None if assignment.points_possible is None else float(assignment.points_possible),
        "account_id": course.account_id,
        "sis_source_id": course.sis_source_id,
        "root_account_uuid": course.root_account_uuid,
        "root_account_lti_guid": course.root_account_lti_guid,
        # Canvas: Submission#graded?. An excused submission needs no score; one that was never graded is not complete.
        "grading_complete": facts["score"] is not None or submission.excused,
        **facts,
    }


def accepted_verdict(
    command: Command, accepted: Accepted, version: int, at_text: str, correlation_id: str | None
) -> bytes:
    """The verdict of an accepted command (contract section 4)."""
    return _verdict(
        command.command_id,
        command.root_account_id,
        command.type,
        command.course_id,
        command.assignment_id,
        version,
        at_text,
        correlation_id,
        status="accepted",
        http_status=HTTP_ACCEPTED,
        events=len(accepted.events),
        result=accepted.result,
    )


def rejected_verdict(
    command_id: str,
    root_account_id: int | None,
    command_type: str | None,
    course_id: int | None,
    assignment_id: int | None,
    rejected: Rejected,
    errors: Sequence[dict[str, str]],
    version: int | None,
    at_text: str,
    correlation_id: str | None,
) -> bytes:
    """The verdict of a refused command."""
    return _verdict(
        command_id,
        root_account_id,
        command_type,
        course_id,
        assignment_id,
        version,
        at_text,
        correlation_id,
        status="rejected",
        reason=rejected.reason,
        error_code=rejected.error_code,
        message=rejected.message,
        http_status=HTTP_STATUS.get(rejected.reason, 400),
        errors=list(errors),
    )


def repeated_verdict(body: str) -> bytes:
    """The first verdict again, equal in all but ``duplicate``."""
    return orjson.dumps({**orjson.loads(body), "duplicate": True})


def _verdict(
    command_id: str,
    root_account_id: int | None,
    command_type: str | None,
    course_id: int | None,
    assignment_id: int | None,
    version: int | None,
    at_text: str,
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
            "root_account_id": _text(root_account_id),
            "type": command_type,
            "status": status,
            "reason": reason,
            "error_code": error_code,
            "message": message,
            "http_status": http_status,
            "errors": errors,
            "course_id": _text(course_id),
            "assignment_id": _text(assignment_id),
            "stream_version": version,
            "events": events,
            "result": result,
            "decided_at": at_text,
            "duplicate": False,
            "correlation_id": correlation_id,
        }
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def headers_json(record: ConsumerRecord[Any, Any]) -> bytes:
    """A dead letter's headers, byte for byte but for ``authorization``; an escaped name was not UTF-8 when it came."""
    return orjson.dumps(
        [
            [base64.b64encode(name.encode()).decode(), None if value is None else base64.b64encode(value).decode()]
            for name, value in record.headers
            if name.lower() != "authorization"
        ]
    )
