"""The states of streams as they stood at a version or time, folded from the log when somebody asks."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.eventlog.aggregates import begun, evolve_stored_assignment, evolve_stored_course
from services.eventlog.store import Stored, Stream
from services.eventlog.stream_reader import Reader
from services.moderation.assignment import Assignment
from services.moderation.course import Course

# Others get their turn while a long stream is folded.
EVENTS_AT_A_TIME = 250


@dataclass(slots=True)
class Held:
    """A stream and its state; None before the first event of an assignment is read."""

    stream: Stream
    state: Course | Assignment | None = None

    @property
    def version(self) -> int:
        """How far the state has come."""
        return 0 if self.state is None else self.state.version

    def apply(self, stored: Stored) -> None:
        """Apply an event unless somebody else has: two reads may bring the same one."""
        if stored.version != self.version + 1:
            return
        if self.stream.assignment is None:
            if self.state is None:
                self.state = Course(self.stream.root_account, self.stream.course)
            assert isinstance(self.state, Course)
            evolve_stored_course(self.state, stored)
            return
        if self.state is None:
            self.state = begun(self.stream, stored)
        assert isinstance(self.state, Assignment)
        evolve_stored_assignment(self.state, stored)


async def fold(held: Mapping[int, Held], events: Sequence[Stored]) -> None:
    """Apply events to their streams, held by number."""
    for start in range(0, len(events), EVENTS_AT_A_TIME):
        for stored in events[start : start + EVENTS_AT_A_TIME]:
            held[stored.stream].apply(stored)
        await asyncio.sleep(0)


async def as_of(
    reader: Reader,
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
        position = await reader.position_of_version(numbers[0], version)
    elif at is not None:
        position = await reader.position_at(numbers, at)
    if position is None and (version is not None or at is not None):
        return None
    held = {stream.number: Held(stream) for stream in streams}
    await fold(held, await reader.events(numbers, position))
    assignment, course = (held[number].state for number in numbers)
    if not isinstance(assignment, Assignment) or not isinstance(course, Course):
        return None
    return course, assignment
