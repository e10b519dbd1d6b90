"""Stored events to the states of the rules, for everybody who holds streams in memory."""

from typing import cast

import orjson

from services.eventlog.store import StoredEvent, Stream
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.event_payloads import from_payload
from services.moderation.events import AssignmentEvent, CourseEvent, Event
from services.moderation.evolve import evolve_assignment, evolve_course
from services.moderation.upcasters import upcast


def apply_course_event(course: Course, stored_event: StoredEvent) -> None:
    """Apply the next event of a course's stream."""
    evolve_course(
        course,
        cast(CourseEvent, _decode_event(stored_event)),
        position=stored_event.position,
        at=stored_event.recorded_at,
    )


def apply_assignment_event(assignment: Assignment, stored_event: StoredEvent) -> None:
    """Apply the next event of an assignment's stream."""
    event = cast(AssignmentEvent, _decode_event(stored_event))
    evolve_assignment(assignment, event, position=stored_event.position, at=stored_event.recorded_at)


def new_assignment(stream: Stream, first_event: StoredEvent) -> Assignment:
    """An assignment before its first event, whose metadata holds its secret."""
    assert stream.assignment is not None
    secret = bytes.fromhex(orjson.loads(first_event.metadata)["secret"])
    return Assignment(stream.number, secret, stream.root_account, stream.course, stream.assignment)


def _decode_event(stored_event: StoredEvent) -> Event:
    data = orjson.loads(stored_event.data)
    return from_payload(
        stored_event.type,
        upcast(stored_event.type, stored_event.type_version, data["payload"]),
        student_id=_parse_id(data["student_id"]),
        submission_id=_parse_id(data["submission_id"]),
    )


def _parse_id(text: str | None) -> int | None:
    return None if text is None else int(text)
