"""The streams a subscriber holds in memory: read once, changed in place, dropped when in doubt."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterable

from services.eventlog.aggregates import apply_assignment_event, apply_course_event, new_assignment
from services.eventlog.store import EventStore, StoredEvent, Stream
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course

StreamKey = tuple[int, int]

# What is held at the most by all subscribers of a process together, in entries: enrolments and users of courses,
# grades and submissions of assignments. An entry takes about 600 bytes.
ENTRIES_MAX = 600_000
ENTRY_BYTES = 600


class StateCache:
    """Courses by (root account, course) and assignments by (root account, assignment), with their stream rows.

    What is here is as of ``positions``: whoever finds a shard's head elsewhere drops the shard before trusting it.
    ``entries_max``: what is held at the most; the least recently used go first, and are read again when needed.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.courses: dict[StreamKey, tuple[Course, Stream]] = {}
        self.assignments: dict[StreamKey, tuple[Assignment, Stream]] = {}
        self.positions: dict[int, int] = {}
        self.entry_count = 0
        self._entries_max = entries_max
        # Entries by stream ("course" or "assignment", key), the least recently used first.
        self._entry_counts: OrderedDict[tuple[str, StreamKey], int] = OrderedDict()
        self._used_streams: dict[tuple[str, StreamKey], None] = {}
        # Bytes of large events of assignments: long comments, rubric assessments, lists of students.
        self._large_event_bytes: dict[StreamKey, int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.courses.clear()
        self.assignments.clear()
        self.positions.clear()
        self._entry_counts.clear()
        self._used_streams.clear()
        self._large_event_bytes.clear()
        self.entry_count = 0

    def drop_stale(self, positions: dict[int, int]) -> None:
        """Drop the streams of every shard that somebody else has written to since we looked."""
        changed_shards = {shard for shard, position in positions.items() if self.positions.get(shard, -1) != position}
        if changed_shards:
            for kind, key in list(self._entry_counts):
                if self._cache_for(kind)[key][1].shard in changed_shards:
                    self._evict(kind, key)
        self.positions.update(positions)

    async def load(self, event_store: EventStore, commands: Iterable[Command]) -> None:
        """Read what the commands need and is not held; a stream that does not exist stays absent."""
        for command in commands:
            self._used_streams["course", (command.root_account_id, command.course_id)] = None
            if command.type in ASSIGNMENT_COMMANDS and command.assignment_id is not None:
                self._used_streams["assignment", (command.root_account_id, command.assignment_id)] = None
        missing_courses = [key for kind, key in self._used_streams if kind == "course" and key not in self.courses]
        missing_assignments = [
            key for kind, key in self._used_streams if kind == "assignment" and key not in self.assignments
        ]
        if not missing_courses and not missing_assignments:
            return
        streams = {stream.number: stream for stream in await event_store.streams(missing_assignments, missing_courses)}
        for stream in streams.values():
            if stream.assignment is None:
                state = Course(root_account_id=stream.root_account, course_id=stream.course)
                self.courses[stream.root_account, stream.course] = (state, stream)
        if streams:
            async with contextlib.aclosing(event_store.events(list(streams))) as chunks:
                async for chunk in chunks:
                    for stored_event in chunk:
                        self._apply(streams[stored_event.stream], stored_event)

    def _apply(self, stream: Stream, stored_event: StoredEvent) -> None:
        if stream.assignment is None:
            apply_course_event(self.courses[stream.root_account, stream.course][0], stored_event)
            return
        key = (stream.root_account, stream.assignment)
        if key not in self.assignments:
            self.assignments[key] = (new_assignment(stream, stored_event), stream)
        apply_assignment_event(self.assignments[key][0], stored_event)
        self.add_event_bytes(key, len(stored_event.data))

    def add_event_bytes(self, assignment_key: StreamKey, size: int) -> None:
        """An event of so many bytes became part of an assignment's state."""
        if size > ENTRY_BYTES:
            self._large_event_bytes[assignment_key] = self._large_event_bytes.get(assignment_key, 0) + size

    def evict_lru(self) -> None:
        """Keep memory bounded: called between batches, when what the batch used has the size that it has now."""
        for kind, key in self._used_streams:
            if key in self._cache_for(kind):
                entries = self._count_entries(kind, key)
                self.entry_count += entries - self._entry_counts.pop((kind, key), 0)
                self._entry_counts[kind, key] = entries
        self._used_streams.clear()
        while self.entry_count > self._entries_max and len(self._entry_counts) > 1:
            self._evict(*next(iter(self._entry_counts)))

    def _evict(self, kind: str, key: StreamKey) -> None:
        del self._cache_for(kind)[key]
        self.entry_count -= self._entry_counts.pop((kind, key))
        if kind == "assignment":
            self._large_event_bytes.pop(key, None)

    def _cache_for(
        self, kind: str
    ) -> dict[StreamKey, tuple[Course, Stream]] | dict[StreamKey, tuple[Assignment, Stream]]:
        return self.courses if kind == "course" else self.assignments

    def _count_entries(self, kind: str, key: StreamKey) -> int:
        if kind == "course":
            course = self.courses[key][0]
            return 1 + len(course.enrollments) + len(course.users)
        assignment = self.assignments[key][0]
        large_event_entries = self._large_event_bytes.get(key, 0) // ENTRY_BYTES
        return 1 + len(assignment.provisional_grades) + len(assignment.submissions) + large_event_entries
