"""Stored events to the states of the rules, for everybody who holds streams in memory."""

from typing import cast

import orjson

from services.eventlog.store import Stored, Stream
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.event_payloads import from_payload
from services.moderation.events import AssignmentEvent, CourseEvent, Event
from services.moderation.evolve import evolve_assignment, evolve_course
from services.moderation.upcasters import upcast


def evolve_stored_course(course: Course, stored: Stored) -> None:
    """Apply the next event of a course's stream."""
    evolve_course(course, cast(CourseEvent, _event(stored)), position=stored.position, at=stored.recorded_at)


def evolve_stored_assignment(assignment: Assignment, stored: Stored) -> None:
    """Apply the next event of an assignment's stream."""
    event = cast(AssignmentEvent, _event(stored))
    evolve_assignment(assignment, event, position=stored.position, at=stored.recorded_at)


def begun(stream: Stream, first: Stored) -> Assignment:
    """An assignment before its first event, whose metadata holds its secret."""
    assert stream.assignment is not None
    secret = bytes.fromhex(orjson.loads(first.metadata)["secret"])
    return Assignment(stream.number, secret, stream.root_account, stream.course, stream.assignment)


def _event(stored: Stored) -> Event:
    data = orjson.loads(stored.data)
    return from_payload(
        stored.type,
        upcast(stored.type, stored.type_version, data["payload"]),
        student_id=_number(data["student_id"]),
        submission_id=_number(data["submission_id"]),
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
