"""Caches folded courses and assignments, and updates them on every read."""

import asyncio
from collections import OrderedDict
from datetime import datetime

from services.eventlog.aggregates import LoadedStream, apply_events, load_as_of
from services.eventlog.stream_reader import StreamReader
from services.gateway.metrics import METRICS
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.events import PersonErased

# Above this the least recently read streams are evicted.
CACHED_EVENTS_MAX = 500_000

StreamKey = tuple[int, str, int]


class StateCache:
    """The cache. Every read queries the primary for new events, so that no answer is older than a verdict.

    A state is valid until the next ``await``: another request may update it.
    """

    def __init__(self, reader: StreamReader) -> None:
        self.reader = reader
        self.streams: OrderedDict[StreamKey, LoadedStream] = OrderedDict()
        # Counts applied erasures: a read that overlaps one is repeated.
        self._erasure_count = 0
        self._load_tasks: dict[StreamKey, asyncio.Task[LoadedStream | None]] = {}

    async def get_course(self, root_account: int, course_id: int) -> Course | None:
        """Return the current course, None if there is none."""
        loaded_stream = await self._get_stream((root_account, "course", course_id))
        if loaded_stream is None:
            return None
        await self._catch_up([loaded_stream])
        assert isinstance(loaded_stream.state, Course)
        return loaded_stream.state

    def find_cached_course_of_user(self, root_account: int, user_id: int) -> Course | None:
        """Return a cached course that knows the user, as of its last read."""
        for (account, kind, _), loaded_stream in self.streams.items():
            if account == root_account and kind == "course":
                assert isinstance(loaded_stream.state, Course)
                if user_id in loaded_stream.state.users:
                    return loaded_stream.state
        return None

    async def get_assignment(
        self, root_account: int, assignment_id: int, course_id: int | None = None
    ) -> tuple[Course, Assignment] | None:
        """Return the current assignment and its course; None if there is none or it belongs to another course."""
        while True:
            assignment_stream = await self._get_stream((root_account, "assignment", assignment_id))
            if assignment_stream is None or (course_id is not None and assignment_stream.stream.course != course_id):
                return None
            course_stream = await self._get_stream((root_account, "course", assignment_stream.stream.course))
            if course_stream is None:
                return None
            await self._catch_up([course_stream, assignment_stream])
            if not assignment_stream.is_outdated:
                break
        assert isinstance(course_stream.state, Course)
        assert isinstance(assignment_stream.state, Assignment)
        return course_stream.state, assignment_stream.state

    async def load_as_of(
        self, root_account: int, assignment_id: int, *, version: int | None = None, at: datetime | None = None
    ) -> tuple[Course, Assignment] | None:
        """Load assignment and course as of a version or a time; None before the first event and for the future."""
        course_and_assignment = await load_as_of(self.reader, root_account, assignment_id, version=version, at=at)
        if course_and_assignment is not None:
            METRICS.events_folded.inc(sum(state.version for state in course_and_assignment))
        return course_and_assignment

    async def _get_stream(self, key: StreamKey) -> LoadedStream | None:
        loaded_stream = self.streams.get(key)
        if loaded_stream is not None:
            self.streams.move_to_end(key)
            return loaded_stream
        load_task = self._load_tasks.get(key)
        if load_task is None:
            load_task = self._load_tasks[key] = asyncio.create_task(self._load(key))
            load_task.add_done_callback(lambda _: self._load_tasks.pop(key, None))
        # A cancelled request must not cancel the load for others.
        return await asyncio.shield(load_task)

    async def _load(self, key: StreamKey) -> LoadedStream | None:
        root_account, kind, entity_id = key
        course, assignment = (entity_id, None) if kind == "course" else (None, entity_id)
        streams = await self.reader.streams(root_account, course, assignment)
        if not streams:
            return None
        while True:
            erasure_count = self._erasure_count
            loaded_stream = LoadedStream(streams[0])
            await apply_events({streams[0].number: loaded_stream}, await self.reader.events([streams[0].number]))
            # Texts were erased during the read: read again without them.
            if erasure_count == self._erasure_count:
                break
        if isinstance(loaded_stream.state, Course) and loaded_stream.state.erased_at_position:
            self._drop_assignments(loaded_stream.state)
        METRICS.events_folded.inc(loaded_stream.version)
        self.streams[key] = loaded_stream
        self._evict_lru()
        return loaded_stream

    async def _catch_up(self, loaded_streams: list[LoadedStream]) -> None:
        by_stream = {loaded_stream.stream.number: loaded_stream for loaded_stream in loaded_streams}
        new_events = await self.reader.events_after(
            {number: loaded_stream.version for number, loaded_stream in by_stream.items()}
        )
        for event in new_events:
            loaded_stream = by_stream[event.stream]
            loaded_stream.apply(event)
            if event.type == PersonErased.name and isinstance(loaded_stream.state, Course):
                self._erasure_count += 1
                self._drop_assignments(loaded_stream.state)
        if new_events:
            METRICS.events_folded.inc(len(new_events))

    def _drop_assignments(self, course: Course) -> None:
        """Drop a course's assignments, which may hold texts of an erased person."""
        for key, loaded_stream in list(self.streams.items()):
            stream = loaded_stream.stream
            if stream.assignment is not None and (stream.root_account, stream.course) == (
                course.root_account_id,
                course.course_id,
            ):
                loaded_stream.is_outdated = True
                del self.streams[key]

    def _evict_lru(self) -> None:
        event_count = sum(loaded_stream.version for loaded_stream in self.streams.values())
        while event_count > CACHED_EVENTS_MAX and len(self.streams) > 2:
            event_count -= self.streams.popitem(last=False)[1].version
        METRICS.events_held.set(event_count)
