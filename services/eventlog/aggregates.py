"""Folds stored events into domain states: event by event, or an assignment as of a version or time."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import orjson

from services.eventlog.grade_events import apply_grade_event
from services.eventlog.state_size import (
    STREAM_BYTES,
    estimate_assignment_bytes,
    estimate_course_bytes,
    estimate_large_event_bytes,
)
from services.eventlog.store import Stream
from services.eventlog.stored_events import StoredEvent
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.event_payloads import from_payload
from services.moderation.events import AssignmentEvent, CourseEvent, Event
from services.moderation.evolve import evolve_assignment
from services.moderation.evolve_course import evolve_course
from services.moderation.upcasters import upcast

# How many events are folded before other tasks may run.
EVENTS_PER_YIELD = 250


def apply_course_event(course: Course, stored_event: StoredEvent) -> None:
    """Apply the next event of a course's stream."""
    event = cast(CourseEvent, decode_event(stored_event))
    evolve_course(course, event, position=stored_event.position, at=stored_event.recorded_at)


def apply_assignment_event(assignment: Assignment, stored_event: StoredEvent) -> None:
    """Apply the next event of an assignment's stream."""
    if apply_grade_event(assignment, stored_event):
        return
    event = cast(AssignmentEvent, decode_event(stored_event))
    evolve_assignment(assignment, event, position=stored_event.position, at=stored_event.recorded_at)


def new_assignment(stream: Stream, first_event: StoredEvent) -> Assignment:
    """Create an assignment before its first event, whose metadata holds the stream's secret."""
    assert stream.assignment is not None
    secret = bytes.fromhex(orjson.loads(first_event.metadata)["secret"])
    return Assignment(stream.number, secret, stream.root_account, stream.course, stream.assignment)


def decode_event(stored_event: StoredEvent) -> Event:
    """Return the event of a stored row in its current form."""
    data = orjson.loads(stored_event.data)
    return from_payload(
        stored_event.type,
        upcast(stored_event.type, stored_event.type_version, data["payload"]),
        student_id=_parse_id(data["student_id"]),
        submission_id=_parse_id(data["submission_id"]),
    )


def _parse_id(text: str | None) -> int | None:
    return None if text is None else int(text)


@dataclass(slots=True)
class LoadedStream:
    """A stream and its state; ``state`` is None until the first event of an assignment is applied.

    ``large_event_bytes``: the memory of its large events' texts, see :mod:`services.eventlog.state_size`.
    ``erasures_until``: the state has no text of a person whose erasure is at this position of the shard or before it.
    """

    stream: Stream
    state: Course | Assignment | None = None
    large_event_bytes: int = 0
    erasures_until: int = 0

    @property
    def version(self) -> int:
        """The version of the last event applied, 0 before the first."""
        return 0 if self.state is None else self.state.version

    @property
    def estimated_bytes(self) -> int:
        """The memory of the state."""
        match self.state:
            case None:
                return STREAM_BYTES
            case Course():
                return estimate_course_bytes(self.state)
            case Assignment():
                return estimate_assignment_bytes(self.state) + self.large_event_bytes

    def apply(self, stored_event: StoredEvent) -> None:
        """Apply an event if it is the next one: two concurrent reads may return the same event."""
        if stored_event.version != self.version + 1:
            return
        if self.stream.assignment is None:
            if self.state is None:
                self.state = Course(self.stream.root_account, self.stream.course)
            assert isinstance(self.state, Course)
            apply_course_event(self.state, stored_event)
            return
        if self.state is None:
            self.state = new_assignment(self.stream, stored_event)
        assert isinstance(self.state, Assignment)
        apply_assignment_event(self.state, stored_event)
        self.large_event_bytes += estimate_large_event_bytes(stored_event.data)


async def apply_events(streams: Mapping[int, LoadedStream], events: Sequence[StoredEvent]) -> None:
    """Apply events to their streams, which are given by stream number.

    Other tasks run between every EVENTS_PER_YIELD of them, and none after the last.
    """
    for start in range(0, len(events), EVENTS_PER_YIELD):
        if start:
            await asyncio.sleep(0)
        for stored_event in events[start : start + EVENTS_PER_YIELD]:
            streams[stored_event.stream].apply(stored_event)


async def load_as_of(
    reader: StreamReader,
    root_account: int,
    assignment_id: int,
    *,
    version: int | None = None,
    at: datetime | None = None,
) -> tuple[Course, Assignment] | None:
    """Load an assignment and its course as of a version of the assignment or a time; as of now without either.

    Returns None if there is no such assignment, before its first event, and for a version or time in the future.
    """
    streams = await reader.streams(root_account, None, assignment_id)
    if not streams:
        return None
    streams += await reader.streams(root_account, streams[0].course, None)
    numbers = [stream.number for stream in streams]
    position = None
    if version is not None:
        position = await reader.position_at_version(numbers[0], version)
    elif at is not None:
        position = await reader.position_at_time(numbers, at)
    if position is None and (version is not None or at is not None):
        return None
    loaded = {stream.number: LoadedStream(stream) for stream in streams}
    async with contextlib.aclosing(reader.pages(dict.fromkeys(numbers, 0), position)) as pages:
        async for page in pages:
            await apply_events(loaded, page)
    assignment, course = (loaded[number].state for number in numbers)
    if not isinstance(assignment, Assignment) or not isinstance(course, Course):
        return None
    return course, assignment
