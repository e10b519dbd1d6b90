"""The bytes that the log keeps: verdicts and events as they will be published, encoded once."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiokafka import ConsumerRecord
from uuid_utils import uuid4

from schemas.headers import TRACEPARENT
from schemas.reasons import ACCEPTED_STATUS, REASONS
from services.moderation import root_accounts
from services.moderation.assignment import Assignment
from services.moderation.commands import Command
from services.moderation.course import Course
from services.moderation.decisions import Accepted, Rejected
from services.moderation.event_payloads import to_payload
from services.moderation.events import Event
from services.moderation.grade_changes import describe_grade_change

OUTPUT_BYTES_MAX = 3 << 20
HTTP_STATUS_BY_REASON: Mapping[str, int] = {reason: info.http_status for reason, info in REASONS.items()}


def generate_uuid4() -> str:
    """Generate a random UUID (version 4) as text: a third of the time that the standard library takes, or less."""
    return str(uuid4())


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
            text = "" if value is None else value.decode("ascii", "replace")
            return text if TRACEPARENT.fullmatch(text) else None
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
        "root_account_uuid": course.root_account_uuid or root_accounts.draw_uuid(course.root_account_id),
        "root_account_lti_guid": course.root_account_lti_guid or root_accounts.draw_lti_guid(course.root_account_id),
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
        result=_stringify_ids(accepted.result),
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


def _stringify_ids(result: Any) -> Any:
    """A result with ids as decimal strings, as everywhere on a topic: not every reader's numbers have 63 bits."""
    if isinstance(result, list):
        return [_stringify_ids(row) for row in result]
    if not isinstance(result, dict):
        return result
    return {
        name: str(value) if type(value) is int and (name == "id" or name.endswith("_id")) else value
        for name, value in result.items()
    }


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
