"""The states of streams as they stood at a version or time, folded from the log when somebody asks."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.eventlog.aggregates import apply_assignment_event, apply_course_event, new_assignment
from services.eventlog.store import StoredEvent, Stream
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course

# Others get their turn while a long stream is folded.
EVENTS_PER_YIELD = 250


@dataclass(slots=True)
class LoadedStream:
    """A stream and its state; None before the first event of an assignment is read."""

    stream: Stream
    state: Course | Assignment | None = None

    @property
    def version(self) -> int:
        """How far the state has come."""
        return 0 if self.state is None else self.state.version

    def apply(self, stored_event: StoredEvent) -> None:
        """Apply an event unless somebody else has: two reads may bring the same one."""
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


async def apply_events(streams: Mapping[int, LoadedStream], events: Sequence[StoredEvent]) -> None:
    """Apply events to their streams, held by number."""
    for start in range(0, len(events), EVENTS_PER_YIELD):
        for stored_event in events[start : start + EVENTS_PER_YIELD]:
            streams[stored_event.stream].apply(stored_event)
        await asyncio.sleep(0)


async def load_as_of(
    reader: StreamReader,
    root_account: int,
    assignment_id: int,
    *,
    version: int | None = None,
    at: datetime | None = None,
) -> tuple[Course, Assignment] | None:
    """An assignment and its course at a version of the assignment or at a time; now where neither is given.

    None where there is no such assignment, before its first event, and beyond now.
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
    await apply_events(loaded, await reader.events(numbers, position))
    assignment, course = (loaded[number].state for number in numbers)
    if not isinstance(assignment, Assignment) or not isinstance(course, Course):
        return None
    return course, assignment
