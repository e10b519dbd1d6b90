"""Reads the events that explain a student's grade."""

from typing import Any, cast

import orjson

from services.eventlog.aggregates import decode_event
from services.eventlog.stream_reader import StreamReader, StudentEvent
from services.moderation.assignment import Assignment
from services.moderation.events import AssignmentEvent
from services.moderation.explanation import TrailEntry


async def load_trail(reader: StreamReader, assignment: Assignment, student_id: int) -> list[TrailEntry]:
    """Return the events about a student up to the version of the state, each with its record on live-events."""
    rows = await reader.events_of_student(assignment.stream_number, student_id, assignment.version)
    return [_to_entry(row) for row in rows]


def _to_entry(row: StudentEvent) -> TrailEntry:
    data, metadata = orjson.loads(row.event.data), orjson.loads(row.event.metadata)
    record: dict[str, Any] | None = None
    if row.live_number is not None:
        record = {"shard": row.shard, "sequence": row.live_number, "ce_id": metadata["live_id"]}
    return TrailEntry(
        cast(AssignmentEvent, decode_event(row.event)),
        row.event.version,
        row.event.recorded_at,
        None if data["user_id"] is None else int(data["user_id"]),
        record,
    )
