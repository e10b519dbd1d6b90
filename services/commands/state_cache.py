"""The streams a subscriber holds in memory: read once, changed in place, dropped when in doubt."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable

from services.eventlog.aggregates import begun, evolve_stored_assignment, evolve_stored_course
from services.eventlog.store import Log, Stored, Stream
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course

StreamKey = tuple[int, int]

# What is held at the most by all subscribers of a process together, in entries: enrolments and users of courses,
# grades and submissions of assignments. An entry takes about 600 bytes.
ENTRIES_MAX = 600_000
ENTRY_BYTES = 600


class States:
    """Courses by (root account, course) and assignments by (root account, assignment), with their stream rows.

    What is here is as of ``positions``: whoever finds a shard's head elsewhere drops the shard before trusting it.
    ``entries_max``: what is held at the most; the least recently used go first, and are read again when needed.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.courses: dict[StreamKey, tuple[Course, Stream]] = {}
        self.assignments: dict[StreamKey, tuple[Assignment, Stream]] = {}
        self.positions: dict[int, int] = {}
        self.entries = 0
        self._entries_max = entries_max
        # Entries by stream ("course" or "assignment", key), the least recently used first.
        self._held: OrderedDict[tuple[str, StreamKey], int] = OrderedDict()
        self._used: dict[tuple[str, StreamKey], None] = {}
        # Bytes of large events of assignments: long comments, rubric assessments, lists of students.
        self._large: dict[StreamKey, int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.courses.clear()
        self.assignments.clear()
        self.positions.clear()
        self._held.clear()
        self._used.clear()
        self._large.clear()
        self.entries = 0

    def trust(self, positions: dict[int, int]) -> None:
        """Drop the streams of every shard that somebody else has written to since we looked."""
        moved = {shard for shard, position in positions.items() if self.positions.get(shard, -1) != position}
        if moved:
            for kind, key in list(self._held):
                if self._of(kind)[key][1].shard in moved:
                    self._forget(kind, key)
        self.positions.update(positions)

    async def load(self, log: Log, commands: Iterable[Command]) -> None:
        """Read what the commands need and is not held; a stream that does not exist stays absent."""
        for command in commands:
            self._used["course", (command.root_account_id, command.course_id)] = None
            if command.type in ASSIGNMENT_COMMANDS and command.assignment_id is not None:
                self._used["assignment", (command.root_account_id, command.assignment_id)] = None
        courses = [key for kind, key in self._used if kind == "course" and key not in self.courses]
        assignments = [key for kind, key in self._used if kind == "assignment" and key not in self.assignments]
        if not courses and not assignments:
            return
        streams = {stream.number: stream for stream in await log.streams(assignments, courses)}
        for stream in streams.values():
            if stream.assignment is None:
                state = Course(root_account_id=stream.root_account, course_id=stream.course)
                self.courses[stream.root_account, stream.course] = (state, stream)
        if streams:
            async with contextlib.aclosing(log.events(list(streams))) as reading:
                async for some in reading:
                    for stored in some:
                        self._evolve(streams[stored.stream], stored)

    def _evolve(self, stream: Stream, stored: Stored) -> None:
        if stream.assignment is None:
            evolve_stored_course(self.courses[stream.root_account, stream.course][0], stored)
            return
        key = (stream.root_account, stream.assignment)
        if key not in self.assignments:
            self.assignments[key] = (begun(stream, stored), stream)
        evolve_stored_assignment(self.assignments[key][0], stored)
        self.note_size(key, len(stored.data))

    def note_size(self, assignment: StreamKey, size: int) -> None:
        """An event of so many bytes became part of an assignment's state."""
        if size > ENTRY_BYTES:
            self._large[assignment] = self._large.get(assignment, 0) + size

    def forget_oldest(self) -> None:
        """Keep memory bounded: called between batches, when what the batch used has the size that it has now."""
        for kind, key in self._used:
            if key in self._of(kind):
                entries = self._entries_of(kind, key)
                self.entries += entries - self._held.pop((kind, key), 0)
                self._held[kind, key] = entries
        self._used.clear()
        while self.entries > self._entries_max and len(self._held) > 1:
            self._forget(*next(iter(self._held)))

    def _forget(self, kind: str, key: StreamKey) -> None:
        del self._of(kind)[key]
        self.entries -= self._held.pop((kind, key))
        if kind == "assignment":
            self._large.pop(key, None)

    def _of(self, kind: str) -> dict[StreamKey, tuple[Course, Stream]] | dict[StreamKey, tuple[Assignment, Stream]]:
        return self.courses if kind == "course" else self.assignments

    def _entries_of(self, kind: str, key: StreamKey) -> int:
        if kind == "course":
            course = self.courses[key][0]
            return 1 + len(course.enrollments) + len(course.users)
        assignment = self.assignments[key][0]
        large = self._large.get(key, 0) // ENTRY_BYTES
        return 1 + len(assignment.provisional_grades) + len(assignment.submissions) + large
