"""A subscriber's in-memory cache of streams: read once, updated in place, dropped when possibly stale."""

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from services.commands.command_state import NO_STATE, PLACEHOLDER_STREAM_ID, CommandState, NewStreamId, StreamName
from services.commands.incoming_command import ReadableCommand
from services.commands.parse import InvalidCommand
from services.commands.stream_reading import CachedName, StreamKey, read_streams
from services.eventlog.aggregates import apply_assignment_event, apply_course_event, new_assignment
from services.eventlog.snapshots import RestoredState, Snapshot, make_snapshot
from services.eventlog.state_size import estimate_assignment_bytes, estimate_course_bytes, estimate_large_event_bytes
from services.eventlog.store import EventStore, Stream
from services.eventlog.stored_events import StoredEvent
from services.moderation.assignment import Assignment
from services.moderation.commands import ASSIGNMENT_COMMANDS, Command
from services.moderation.course import Course
from services.moderation.erasure import erase_texts
from services.moderation.events import Event, PersonErased
from services.moderation.evolve import evolve_assignment
from services.moderation.evolve_course import evolve_course

BYTES_MAX = 256 << 20
"""The limit for all subscribers of a process together, see :mod:`services.eventlog.state_size`."""
STREAMS_OF_A_COMMAND = 2
NEW_SNAPSHOTS_MAX = 4
"""How many snapshots are kept in memory until the batch is appended; other assignments get theirs the next time."""
CONFIGURE_ASSIGNMENT = "configure_assignment"


class StateCache:
    """Courses by (root account, course) and assignments by (root account, assignment), with their stream rows.

    They are as of ``positions``, the heads of their shards. ``bytes_max``: the approximate memory above which the
    least recently used ones are evicted. ``snapshot_events``: assignments with as many events have snapshots, see
    :mod:`services.eventlog.snapshots`; 0: none has.
    """

    def __init__(self, bytes_max: int = BYTES_MAX, snapshot_events: int = 0) -> None:
        self.courses: dict[StreamKey, tuple[Course, Stream]] = {}
        self.assignments: dict[StreamKey, tuple[Assignment, Stream]] = {}
        self.positions: dict[int, int] = {}
        self.new_stream_ids: dict[StreamName, NewStreamId] = {}
        self.byte_count = 0
        self.bytes_max = bytes_max
        # Made by the last load, to be written after the batch.
        self.new_snapshots: list[Snapshot] = []
        self._snapshot_events = snapshot_events
        # Bytes by stream ("course" or "assignment", key), the least recently used first.
        self._sizes: OrderedDict[CachedName, int] = OrderedDict()
        self._used_streams: dict[CachedName, None] = {}
        # Streams that the last load left out.
        self._unread: set[CachedName] = set()
        # Bytes of large events of assignments: long comments, rubric assessments, lists of students.
        self._large_event_bytes: dict[StreamKey, int] = {}

    def clear(self) -> None:
        """Drop everything."""
        self.courses.clear()
        self.assignments.clear()
        self.positions.clear()
        self._sizes.clear()
        self._used_streams.clear()
        self._large_event_bytes.clear()
        self.new_snapshots.clear()
        self.byte_count = 0

    def drop_stale(self, positions: dict[int, int]) -> None:
        """Drop the streams of every shard that another writer has appended to; ``positions``: the shards' heads."""
        changed_shards = {shard for shard, position in positions.items() if self.positions.get(shard, -1) != position}
        if changed_shards:
            for kind, key in list(self._sizes):
                if self._cache_for(kind)[key][1].shard in changed_shards:
                    self.drop(kind, key)
        self.positions.update(positions)

    def advance(self, positions: Mapping[int, int]) -> None:
        """Note the heads of shards after an append whose events were applied here."""
        self.positions.update(positions)

    def find_uncached_streams(self, commands: Iterable[Command]) -> set[tuple[str, StreamKey]]:
        """Return the streams that commands need and that are not cached."""
        courses = {(command.root_account_id, command.course_id) for command in commands} - self.courses.keys()
        assignments = {
            (command.root_account_id, command.assignment_id)
            for command in commands
            if command.assignment_id is not None
        } - self.assignments.keys()
        return {("course", key) for key in courses} | {("assignment", key) for key in assignments}

    async def load(self, event_store: EventStore, commands: Iterable[Command]) -> list[StreamName]:
        """Read the uncached streams of commands; return those that do not exist and that the commands may create.

        Streams are read in the order of the commands, up to ``bytes_max``: see ``is_loaded``.
        """
        names = {
            (
                command.root_account_id,
                command.course_id,
                command.assignment_id if command.type in ASSIGNMENT_COMMANDS else None,
            ): None
            for command in commands
        }
        for root_account_id, course_id, assignment_id in names:
            self._used_streams["course", (root_account_id, course_id)] = None
            if assignment_id is not None:
                self._used_streams["assignment", (root_account_id, assignment_id)] = None
        self._unread = set()
        missing = [(kind, key) for kind, key in self._used_streams if key not in self._cache_for(kind)]
        if not missing:
            return []
        needed_first = list(itertools.islice(self._used_streams, STREAMS_OF_A_COMMAND))
        required = len(set(needed_first).intersection(missing))
        self._unread = await read_streams(self, event_store, missing, required, self._snapshot_events)
        return self._find_new_streams(command for command in commands if self.is_loaded(command))

    @property
    def is_complete(self) -> bool:
        """Return whether the last ``load`` has read everything."""
        return not self._unread

    def is_loaded(self, command: ReadableCommand) -> bool:
        """Return whether ``load`` has read the streams of one of its commands, or they do not exist."""
        if not self._unread or isinstance(command, InvalidCommand):
            return True
        course = ("course", (command.root_account_id, command.course_id))
        return course not in self._unread and (
            command.assignment_id is None
            or ("assignment", (command.root_account_id, command.assignment_id)) not in self._unread
        )

    def _find_new_streams(self, commands: Iterable[Command]) -> list[StreamName]:
        new_streams: dict[StreamName, None] = {}
        for command in commands:
            root_account_id, course_id, assignment_id = (
                command.root_account_id,
                command.course_id,
                command.assignment_id,
            )
            if command.type not in ASSIGNMENT_COMMANDS and (root_account_id, course_id) not in self.courses:
                new_streams[StreamName(root_account_id, course_id, None)] = None
            if command.type == CONFIGURE_ASSIGNMENT and (root_account_id, assignment_id) not in self.assignments:
                new_streams[StreamName(root_account_id, course_id, assignment_id)] = None
        return list(new_streams)

    def assign_stream_ids(self, new_streams: Sequence[StreamName], ids: Iterable[tuple[int, bytes]]) -> None:
        """Set the ids for the new streams that ``load`` returned; those of the previous batch are dropped."""
        self.new_stream_ids = dict(zip(new_streams, itertools.starmap(NewStreamId, ids), strict=True))

    def get_state(self, command: ReadableCommand, shard: int) -> CommandState:
        """Return the state for a loaded command; for a stream that does not exist, the state before its first event.

        A new state is cached once it has events: see ``add``.
        """
        if isinstance(command, InvalidCommand):
            return NO_STATE
        cached_course = self.courses.get((command.root_account_id, command.course_id))
        if cached_course is None:
            cached_course = self._new_course(command, shard)
        course, stream = cached_course
        if command.type not in ASSIGNMENT_COMMANDS:
            return CommandState(course, None, stream, course.version)
        cached_assignment = self.assignments.get((command.root_account_id, command.assignment_id or 0))
        if cached_assignment is None:
            if command.type != CONFIGURE_ASSIGNMENT or command.assignment_id is None:
                return CommandState(course, None, stream, 0)
            cached_assignment = self._new_assignment(command, command.assignment_id, shard)
        assignment, stream = cached_assignment
        version = assignment.version if assignment.course_id == command.course_id else 0
        return CommandState(course, assignment, stream, version)

    def _new_course(self, command: Command, shard: int) -> tuple[Course, Stream]:
        name = StreamName(command.root_account_id, command.course_id, None)
        number = self.new_stream_ids.get(name, PLACEHOLDER_STREAM_ID).number
        return Course(command.root_account_id, command.course_id), Stream(number, *name, shard)

    def _new_assignment(self, command: Command, assignment_id: int, shard: int) -> tuple[Assignment, Stream]:
        name = StreamName(command.root_account_id, command.course_id, assignment_id)
        number, secret = self.new_stream_ids[name]
        assignment = Assignment(number, secret, command.root_account_id, command.course_id, assignment_id)
        return assignment, Stream(number, *name, shard)

    def add(self, state: CommandState) -> None:
        """Cache the state of a new stream."""
        stream = state.stream
        if stream.assignment is None:
            self.courses[stream.root_account, stream.course] = (state.course, stream)
        elif state.assignment is not None:
            self.assignments[stream.root_account, stream.assignment] = (state.assignment, stream)

    def apply(self, state: CommandState, event: Event, position: int, at: datetime, large_event_bytes: int) -> None:
        """Apply a new event to its state in place; ``large_event_bytes``: see :mod:`services.eventlog.state_size`."""
        if state.assignment is None:
            evolve_course(state.course, event, position=position, at=at)  # type: ignore[arg-type]  # Of a course.
            if isinstance(event, PersonErased):
                self._erase_texts(state.course, event.user_id)
            return
        evolve_assignment(state.assignment, event, position=position, at=at)  # type: ignore[arg-type]
        if large_event_bytes:
            self._add_event_bytes((state.stream.root_account, state.assignment.assignment_id), large_event_bytes)

    def _erase_texts(self, course: Course, user_id: int) -> None:
        for assignment, stream in self.assignments.values():
            if (stream.root_account, stream.course) == (course.root_account_id, course.course_id):
                erase_texts(assignment, user_id)

    def begin(self, stream: Stream) -> None:
        """Cache the state of a stream before its first event, which makes the state of an assignment."""
        if stream.assignment is None:
            state = Course(root_account_id=stream.root_account, course_id=stream.course)
            self.courses[stream.root_account, stream.course] = (state, stream)

    def restore(self, stream: Stream, restored: RestoredState) -> None:
        """Cache the state of an assignment from its snapshot; the events after it follow."""
        key = stream.root_account, restored.assignment.assignment_id
        self.assignments[key] = (restored.assignment, stream)
        if restored.large_event_bytes:
            self._add_event_bytes(key, restored.large_event_bytes)

    async def add_snapshot(self, stream: Stream) -> None:
        """Make a snapshot of an assignment all of whose events were just read, unless there are enough."""
        assert stream.assignment is not None
        key = stream.root_account, stream.assignment
        # A command may name an assignment of a course in another shard, whose head is not known.
        position = self.positions.get(stream.shard)
        if position is not None and len(self.new_snapshots) < NEW_SNAPSHOTS_MAX:
            large_event_bytes = self._large_event_bytes.get(key, 0)
            # In a thread, because a large state takes a while in which heartbeats are due.
            snapshot = await asyncio.to_thread(make_snapshot, self.assignments[key][0], position, large_event_bytes)
            self.new_snapshots.append(snapshot)

    def take_snapshots(self) -> list[Snapshot]:
        """Return the snapshots that are to be written, and forget them."""
        snapshots, self.new_snapshots = self.new_snapshots, []
        return snapshots

    def apply_stored(self, stream: Stream, stored_event: StoredEvent) -> None:
        """Apply the next event of a stream whose reading has begun."""
        if stream.assignment is None:
            apply_course_event(self.courses[stream.root_account, stream.course][0], stored_event)
            return
        key = (stream.root_account, stream.assignment)
        if key not in self.assignments:
            self.assignments[key] = (new_assignment(stream, stored_event), stream)
        apply_assignment_event(self.assignments[key][0], stored_event)
        large_event_bytes = estimate_large_event_bytes(stored_event.data)
        if large_event_bytes:
            self._add_event_bytes(key, large_event_bytes)

    def _add_event_bytes(self, assignment_key: StreamKey, size: int) -> None:
        self._large_event_bytes[assignment_key] = self._large_event_bytes.get(assignment_key, 0) + size

    def evict_lru(self) -> None:
        """Evict streams beyond ``bytes_max``; call it after each batch, which changes their sizes."""
        for kind, key in self._used_streams:
            if key in self._cache_for(kind):
                size = self.estimate_bytes(kind, key)
                self.byte_count += size - self._sizes.pop((kind, key), 0)
                self._sizes[kind, key] = size
        self._used_streams.clear()
        while self.byte_count > self.bytes_max and len(self._sizes) > 1:
            self.drop(*next(iter(self._sizes)))

    def drop(self, kind: str, key: StreamKey) -> None:
        """Drop a stream, even if only a part of it has been read."""
        del self._cache_for(kind)[key]
        self.byte_count -= self._sizes.pop((kind, key), 0)
        if kind == "assignment":
            self._large_event_bytes.pop(key, None)

    def _cache_for(
        self, kind: str
    ) -> dict[StreamKey, tuple[Course, Stream]] | dict[StreamKey, tuple[Assignment, Stream]]:
        return self.courses if kind == "course" else self.assignments

    def estimate_bytes(self, kind: str, key: StreamKey) -> int:
        """Estimate the memory of a cached stream."""
        if kind == "course":
            return estimate_course_bytes(self.courses[key][0])
        return estimate_assignment_bytes(self.assignments[key][0]) + self._large_event_bytes.get(key, 0)
