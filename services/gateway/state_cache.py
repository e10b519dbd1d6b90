"""Caches folded courses and assignments, and updates them on every read."""

import asyncio
import contextlib
import functools
from collections.abc import Sequence
from datetime import datetime

from services.eventlog.aggregates import LoadedStream, apply_events, load_as_of
from services.eventlog.stream_reader import StreamReader
from services.eventlog.timelines import seen_timelines
from services.gateway.cached_streams import CachedStreams, StreamKey, get_key
from services.gateway.metrics import METRICS
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.events import PersonErased

# Past states that are folded at once, which the cache does not count; further requests for one wait.
PAST_LOADS_MAX = 4


class StateCache:
    """The cache. Every read queries the primary for new events, so that no answer is older than a verdict.

    A state is valid until the next ``await``: another request may update it. No state outlives a failover or a restore:
    the log may have lost the events that it was folded from. ``bytes_max``: the approximate memory
    above which the least recently read states are dropped.
    """

    def __init__(self, reader: StreamReader, bytes_max: int) -> None:
        self.reader = reader
        self.streams = CachedStreams(bytes_max)
        self._load_tasks: dict[StreamKey, asyncio.Task[LoadedStream | None]] = {}
        self._past_loads = asyncio.Semaphore(PAST_LOADS_MAX)
        self._log = seen_timelines.changes

    async def get_course(self, root_account: int, course_id: int) -> Course | None:
        """Return the current course, None if there is none."""
        while True:
            log = self._drop_lost_states()
            loaded_stream = await self._get_stream((root_account, "course", course_id))
            if loaded_stream is None:
                return None
            await self._catch_up([loaded_stream])
            if log == seen_timelines.changes:
                assert isinstance(loaded_stream.state, Course)
                return loaded_stream.state

    def find_cached_course_of_user(self, root_account: int, user_id: int) -> Course | None:
        """Return a cached course that knows the user, as of its last read."""
        for loaded_stream in self.streams:
            course = loaded_stream.state
            if isinstance(course, Course) and course.root_account_id == root_account and user_id in course.users:
                return course
        return None

    async def get_assignment(
        self, root_account: int, assignment_id: int, course_id: int | None = None
    ) -> tuple[Course, Assignment] | None:
        """Return the current assignment and its course; None if there is none or it belongs to another course."""
        while True:
            log = self._drop_lost_states()
            assignment_stream = await self._get_stream((root_account, "assignment", assignment_id))
            if assignment_stream is None or (course_id is not None and assignment_stream.stream.course != course_id):
                return None
            course_stream = await self._get_stream((root_account, "course", assignment_stream.stream.course))
            if course_stream is None:
                return None
            await self._catch_up([course_stream, assignment_stream])
            if log != seen_timelines.changes:
                continue
            course, assignment = course_stream.state, assignment_stream.state
            assert isinstance(course, Course)
            assert isinstance(assignment, Assignment)
            # It may hold texts of a person who was erased since its events were read: they are read again.
            if course.erased_at_position <= assignment_stream.erasures_until:
                return course, assignment
            self._drop_outdated_assignments(course)

    async def load_as_of(
        self, root_account: int, assignment_id: int, *, version: int | None = None, at: datetime | None = None
    ) -> tuple[Course, Assignment] | None:
        """Load assignment and course as of a version or a time; None before the first event and for the future."""
        async with self._past_loads:
            course_and_assignment = await load_as_of(self.reader, root_account, assignment_id, version=version, at=at)
        if course_and_assignment is not None:
            METRICS.events_folded.inc(sum(state.version for state in course_and_assignment))
        return course_and_assignment

    def _drop_lost_states(self) -> int:
        """Drop all states if PostgreSQL has failed over or was restored; return which log is read now.

        A read that began before must be repeated: compare this number with the one after the read.
        """
        if self._log != seen_timelines.changes:
            self._log = seen_timelines.changes
            self._load_tasks.clear()
            self.streams.clear()
        return self._log

    async def _get_stream(self, key: StreamKey) -> LoadedStream | None:
        loaded_stream = self.streams.get(key)
        if loaded_stream is not None:
            return loaded_stream
        load_task = self._load_tasks.get(key)
        if load_task is None:
            load_task = self._load_tasks[key] = asyncio.create_task(self._load(key))
            load_task.add_done_callback(functools.partial(self._forget_load, key))
        # A cancelled request must not cancel the load for others.
        return await asyncio.shield(load_task)

    def _forget_load(self, key: StreamKey, load_task: "asyncio.Task[LoadedStream | None]") -> None:
        if self._load_tasks.get(key) is load_task:
            del self._load_tasks[key]

    async def _load(self, key: StreamKey) -> LoadedStream | None:
        log = seen_timelines.changes
        root_account, kind, entity_id = key
        course, assignment = (entity_id, None) if kind == "course" else (None, entity_id)
        streams = await self.reader.streams(root_account, course, assignment)
        if not streams:
            return None
        # Before the events: none of them is then read with a key that was deleted up to there.
        erasures_until = await self.reader.course_head(root_account, streams[0].course)
        loaded_stream = LoadedStream(streams[0], erasures_until=erasures_until)
        await self._read_new([loaded_stream])
        if log == seen_timelines.changes:
            self.streams.put(loaded_stream)
        self._report_size()
        return loaded_stream

    async def _catch_up(self, loaded_streams: Sequence[LoadedStream]) -> None:
        """Apply the new events of a course's streams; they are then as of one position."""
        while not await self._read_new(loaded_streams):
            pass
        for loaded_stream in loaded_streams:
            self.streams.measure(loaded_stream)
        self._report_size()

    def _report_size(self) -> None:
        METRICS.events_held.set(self.streams.event_count)
        METRICS.cached_bytes.set(self.streams.byte_count)

    async def _read_new(self, loaded_streams: Sequence[LoadedStream]) -> bool:
        """Apply the new events of a course's streams; return False if another request has applied later ones of one."""
        by_number = {loaded_stream.stream.number: loaded_stream for loaded_stream in loaded_streams}
        versions = {number: loaded_stream.version for number, loaded_stream in by_number.items()}
        async with contextlib.aclosing(self.reader.pages(versions)) as pages:
            async for page in pages:
                await apply_events(by_number, page)
                versions.update((event.stream, event.version) for event in page)
                METRICS.events_folded.inc(len(page))
                for event in page:
                    if event.type == PersonErased.name:
                        self._drop_outdated_assignments(by_number[event.stream].state)
        return all(by_number[number].version == version for number, version in versions.items())

    def _drop_outdated_assignments(self, course: Course | Assignment | None) -> None:
        """Drop a course's assignments that may hold texts of an erased person."""
        assert isinstance(course, Course)
        for loaded_stream in self.streams:
            stream = loaded_stream.stream
            if (
                stream.assignment is not None
                and (stream.root_account, stream.course) == (course.root_account_id, course.course_id)
                and loaded_stream.erasures_until < course.erased_at_position
            ):
                self.streams.drop(get_key(stream))
