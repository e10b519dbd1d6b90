"""The body of a verdict (contract section 4), of a decision or of a first verdict again."""

import functools
from collections.abc import Mapping
from typing import Any

import orjson

from schemas.reasons import ACCEPTED_STATUS, REASONS
from services.commands.incoming_command import ReadableCommand
from services.commands.parse import InvalidCommand
from services.moderation.decisions import Accepted, Decision, Rejected

HTTP_STATUS_BY_REASON: Mapping[str, int] = {reason: info.http_status for reason, info in REASONS.items()}


def encode_verdict(
    command: ReadableCommand, decision: Decision, version: int, decided_at: str, correlation_id: str | None
) -> bytes:
    """Encode a verdict's body (contract section 4); ``version``: the stream's before the decision."""
    event_count, result = 0, None
    if isinstance(decision, Accepted):
        event_count, result = len(decision.events), _stringify_ids(decision.result)
    root_account_id, course_id, assignment_id = command.root_account_id, command.course_id, command.assignment_id
    verdict: dict[str, Any] = {
        "command_id": command.command_id,
        "root_account_id": None if root_account_id is None else str(root_account_id),
        "type": command.type,
        "status": "accepted",
        "reason": None,
        "error_code": None,
        "message": None,
        "http_status": ACCEPTED_STATUS,
        "errors": (),
        "course_id": None if course_id is None else str(course_id),
        "assignment_id": None if assignment_id is None else str(assignment_id),
        "stream_version": None if isinstance(command, InvalidCommand) else version + event_count,
        "events": event_count,
        "result": result,
        "decided_at": decided_at,
        "duplicate": False,
        "correlation_id": correlation_id,
    }
    if isinstance(decision, Rejected):
        verdict |= {
            "status": "rejected",
            "reason": decision.reason,
            "error_code": decision.error_code,
            "message": decision.message,
            "http_status": HTTP_STATUS_BY_REASON[decision.reason],
            "errors": [{"path": path, "message": message} for path, message in decision.errors],
        }
    return orjson.dumps(verdict)


def encode_duplicate_verdict(first_verdict: str) -> bytes:
    """Encode the first verdict again, equal except for ``duplicate``."""
    return orjson.dumps({**orjson.loads(first_verdict), "duplicate": True})


def _stringify_ids(result: Any) -> Any:
    """Return a result with ids as decimal strings, because not every reader supports 63-bit numbers."""
    if isinstance(result, list):
        return [_stringify_ids(row) for row in result]
    if not isinstance(result, dict):
        return result
    fields = dict(result)
    for name, value in result.items():
        # Exact types: most values are neither, and bool is a subclass of int.
        kind = value.__class__
        if kind is int:
            if _is_id_name(name):
                fields[name] = str(value)
        elif kind is list and name.endswith("_ids"):
            fields[name] = [str(identifier) for identifier in value]
        elif kind is list or kind is dict:
            fields[name] = _stringify_ids(value)
    return fields


@functools.cache
def _is_id_name(name: str) -> bool:
    return name == "id" or name.endswith("_id")
