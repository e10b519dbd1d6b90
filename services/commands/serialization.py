"""Step 5 of 6: serialize a decision into the JSON that the log stores and the topics carry."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from services.commands.command_state import CommandState
from services.commands.deduplication import Duplicate
from services.commands.event_metadata import build_causation, build_event_metadata, encode_request
from services.commands.incoming_command import IncomingCommand, ReadableCommand
from services.commands.verdict_body import encode_duplicate_verdict, encode_verdict
from services.eventlog.personal_data import encode_values
from services.eventlog.personal_fields import may_have_personal_values, take_out
from services.eventlog.state_size import estimate_large_event_bytes
from services.moderation.commands import Command
from services.moderation.decisions import (
    COMMAND_EXPIRED,
    COMMAND_ID_REUSED,
    TOO_LARGE,
    UNAUTHENTICATED,
    Accepted,
    Decision,
    Rejected,
    invalid_field,
)
from services.moderation.event_payloads import to_payload
from services.moderation.events import Event
from services.moderation.value_object import value_object

OUTPUT_BYTES_MAX = 3 << 20
# A transaction holds a command as a whole: it takes about 4 KiB of memory an event, and PostgreSQL takes at most 1 GiB.
EVENTS_MAX = 100_000
EVENTS_BYTES_MAX = 256 << 20
# So many events of at most OUTPUT_BYTES_MAX, with their metadata, are below the limit.
EVENTS_UNMEASURED = 64
# Serializing this many events takes some tens of milliseconds.
EVENTS_PER_STEP = 1_000
_NO_PERSONAL_DATA: Mapping[int, bytes] = {}
# These leave the command id unchanged: free for its owner, or settled by its first verdict.
NOT_SETTLING_REASONS = frozenset({UNAUTHENTICATED.reason, COMMAND_ID_REUSED.reason, COMMAND_EXPIRED.reason})


@value_object()
class SerializedEvent:
    """``data``: the value on the events topic; ``metadata``: the facts that its published forms need. Both are JSON.

    ``is_live``: it causes a grade_change. ``personal_data``: by user id, the parts taken out of ``data`` and stored
    encrypted. ``request``: the HTTP request, which belongs to ``metadata`` and is stored encrypted.
    ``large_event_bytes``: the memory of its texts, the personal ones included, see :mod:`services.eventlog.state_size`.
    """

    event: Event
    data: str
    metadata: str
    is_live: bool
    personal_data: Mapping[int, bytes]
    request: bytes | None
    large_event_bytes: int

    @property
    def size(self) -> int:
        """The characters of the event's row; the request is stored encrypted and as base64 with every event."""
        size = len(self.data) + len(self.metadata) + sum(map(len, self.personal_data.values()))
        return size if self.request is None else size + len(self.request) * 4 // 3


@value_object()
class SerializedCommand:
    """The output of a command for the log. ``is_first``: the verdict settles the command id."""

    decision: Decision | Duplicate
    is_first: bool
    verdict_key: bytes | None
    verdict_body: str
    verdict_metadata: str
    events: list[SerializedEvent]


def serialize(
    incoming: IncomingCommand, decision: Decision | Duplicate, state: CommandState, decided_at: str
) -> SerializedCommand:
    """Serialize a decision on ``state``, which has not changed since.

    The command is rejected if a part of the decision has more than ``OUTPUT_BYTES_MAX``: it could not be published. And
    if its events have more than ``EVENTS_BYTES_MAX``, or number more than ``EVENTS_MAX``: they could not be appended.
    """
    causation = build_causation(incoming)
    events: list[SerializedEvent] = []
    if isinstance(decision, Accepted):
        request = encode_request(incoming, decision.events, state)
        events = _serialize_events(incoming, decision.events, state, causation, request, decided_at, state.version + 1)
        if len(events) > EVENTS_UNMEASURED and _measure(events) > EVENTS_BYTES_MAX:
            events = []
    return _complete(incoming, decision, state, decided_at, causation, events)


async def serialize_in_steps(
    incoming: IncomingCommand,
    accepted: Accepted,
    state: CommandState,
    decided_at: str,
    pause: Callable[[], Awaitable[None]],
) -> SerializedCommand:
    """Serialize a decision with many events, with a ``pause`` after each EVENTS_PER_STEP of them; see ``serialize``."""
    causation = build_causation(incoming)
    events: list[SerializedEvent] = []
    if len(accepted.events) > EVENTS_MAX:
        return _complete(incoming, _refuse_count(incoming.command), state, decided_at, causation, events)
    request = encode_request(incoming, accepted.events, state)
    size = 0
    for start in range(0, len(accepted.events), EVENTS_PER_STEP):
        step = accepted.events[start : start + EVENTS_PER_STEP]
        first_version = state.version + 1 + start
        events += _serialize_events(incoming, step, state, causation, request, decided_at, first_version)
        size += _measure(events[start:])
        if len(events) < start + len(step):
            break
        if size > EVENTS_BYTES_MAX:
            events = []
            break
        await pause()
    return _complete(incoming, accepted, state, decided_at, causation, events)


def _measure(events: Sequence[SerializedEvent]) -> int:
    return sum(event.size for event in events)


def _refuse_count(command: ReadableCommand) -> Rejected:
    too_many = f"would make more than {EVENTS_MAX:,} events"
    if isinstance(command, Command) and hasattr(command.data, "student_ids"):
        return invalid_field("data.student_ids", f"{too_many}: send at most 10,000 students at a time")
    return invalid_field("course_id", f"names a course in which the command {too_many}: divide the course")


def _complete(
    incoming: IncomingCommand,
    decision: Decision | Duplicate,
    state: CommandState,
    decided_at: str,
    causation: dict[str, Any],
    events: list[SerializedEvent],
) -> SerializedCommand:
    """Add the verdict; reject an accepted command if events are missing because one of them is too large."""
    command = incoming.command
    if isinstance(decision, Duplicate):
        verdict_body = encode_duplicate_verdict(decision.first_verdict)
    else:
        verdict_body = encode_verdict(command, decision, state.version, decided_at, incoming.correlation_id)
        if isinstance(decision, Accepted) and (
            len(events) < len(decision.events) or len(verdict_body) > OUTPUT_BYTES_MAX
        ):
            decision, events = TOO_LARGE, []
            verdict_body = encode_verdict(command, decision, state.version, decided_at, incoming.correlation_id)
    verdict_metadata = {
        **causation,
        "time": decided_at,
        "root_account_id": incoming.command_key[1],
        "course_id": command.course_id,
        "assignment_id": command.assignment_id,
        "actor_id": command.actor_id,
    }
    return SerializedCommand(
        decision,
        _settles_command_id(command, decision),
        incoming.record.key if command.course_id is None else str(command.course_id).encode(),
        verdict_body.decode(),
        orjson.dumps(verdict_metadata).decode(),
        events,
    )


def _serialize_events(
    incoming: IncomingCommand,
    new_events: Sequence[Event],
    state: CommandState,
    causation: dict[str, Any],
    request: bytes | None,
    decided_at: str,
    first_version: int,
) -> list[SerializedEvent]:
    """Serialize events up to the first that is too large; ``first_version``: the first event's stream version."""
    events: list[SerializedEvent] = []
    for version, event in enumerate(new_events, first_version):
        value = build_event(event, incoming.command, version, decided_at, state.assignment is not None)
        data = orjson.dumps(value)
        if len(data) > OUTPUT_BYTES_MAX:
            break
        text, personal_data = data.decode(), _NO_PERSONAL_DATA
        large_event_bytes = estimate_large_event_bytes(text)
        if may_have_personal_values(event.name, value["payload"]):
            values = take_out(event.name, value["payload"], getattr(event, "student_id", None))
            if values:
                text, personal_data = orjson.dumps(value).decode(), encode_values(values)
        metadata = build_event_metadata(event, state, causation)
        is_live = "live" in metadata
        events.append(
            SerializedEvent(
                event,
                text,
                orjson.dumps(metadata).decode(),
                is_live,
                personal_data,
                request if is_live else None,
                large_event_bytes,
            )
        )
    return events


def _settles_command_id(command: ReadableCommand, decision: Decision | Duplicate) -> bool:
    if isinstance(decision, Accepted):
        return True
    if isinstance(decision, Duplicate) or command.root_account_id is None:
        return False
    return decision.reason not in NOT_SETTLING_REASONS


def build_event(
    event: Event, command: ReadableCommand, stream_version: int, recorded_at: str, is_assignment_event: bool
) -> dict[str, Any]:
    """Build an event's value on the events topic (contract section 5)."""
    student_id, submission_id = getattr(event, "student_id", None), getattr(event, "submission_id", None)
    return {
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
