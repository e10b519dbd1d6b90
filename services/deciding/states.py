"""The streams a subscriber holds in memory: read once, changed in place, dropped when in doubt."""

from collections import OrderedDict
from collections.abc import Iterable

from services.eventlog.fold import begun, evolve_stored_assignment, evolve_stored_course
from services.eventlog.log import Log, Stored, Stream
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course

StreamKey = tuple[int, int]

# What is held at the most; the least recently used go first. A stream that is needed again is read again.
STREAMS_MAX = 4_096


class States:
    """Courses by (root account, course) and assignments by (root account, assignment), with their stream rows.

    What is here is as of ``heads``: whoever finds a shard's head elsewhere drops the shard before trusting it.
    """

    def __init__(self) -> None:
        self.courses: OrderedDict[StreamKey, tuple[Course, Stream]] = OrderedDict()
        self.assignments: OrderedDict[StreamKey, tuple[Assignment, Stream]] = OrderedDict()
        self.positions: dict[int, int] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.courses.clear()
        self.assignments.clear()
        self.positions.clear()

    def trust(self, positions: dict[int, int]) -> None:
        """Drop the streams of every shard that somebody else has written to since we looked."""
        moved = {shard for shard, position in positions.items() if self.positions.get(shard, -1) != position}
        if moved:
            self._drop(self.courses, moved)
            self._drop(self.assignments, moved)
        self.positions.update(positions)

    @staticmethod
    def _drop(
        held: "OrderedDict[StreamKey, tuple[Course, Stream]] | OrderedDict[StreamKey, tuple[Assignment, Stream]]",
        shards: set[int],
    ) -> None:
        for key in [key for key, (_, stream) in held.items() if stream.shard in shards]:
            del held[key]

    async def load(self, log: Log, commands: Iterable[Command]) -> None:
        """Read what the commands need and is not held; a stream that does not exist stays absent."""
        courses: dict[StreamKey, None] = {}
        assignments: dict[StreamKey, None] = {}
        for command in commands:
            key = (command.root_account_id, command.course_id)
            if key in self.courses:
                self.courses.move_to_end(key)
            else:
                courses[key] = None
            if command.type in ASSIGNMENT_COMMANDS and command.assignment_id is not None:
                key = (command.root_account_id, command.assignment_id)
                if key in self.assignments:
                    self.assignments.move_to_end(key)
                else:
                    assignments[key] = None
        if not courses and not assignments:
            return
        streams = {stream.number: stream for stream in await log.streams(list(assignments), list(courses))}
        for stream in streams.values():
            if stream.assignment is None:
                state = Course(root_account_id=stream.root_account, course_id=stream.course)
                self.courses[stream.root_account, stream.course] = (state, stream)
        if not streams:
            return
        for stored in await log.events(list(streams)):
            self._evolve(streams[stored.stream], stored)

    def _evolve(self, stream: Stream, stored: Stored) -> None:
        if stream.assignment is None:
            evolve_stored_course(self.courses[stream.root_account, stream.course][0], stored)
            return
        key = (stream.root_account, stream.assignment)
        if key not in self.assignments:
            self.assignments[key] = (begun(stream, stored), stream)
        evolve_stored_assignment(self.assignments[key][0], stored)

    def forget_oldest(self) -> None:
        """Keep memory bounded: called between batches."""
        for held in (self.courses, self.assignments):
            while len(held) > STREAMS_MAX:
                held.popitem(last=False)
