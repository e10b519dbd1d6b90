"""Courses and assignments as the log tells them now, folded once and then kept up with every read."""

import asyncio
from collections import OrderedDict
from datetime import datetime

from services.eventlog.stream_loader import Held, as_of, fold
from services.eventlog.stream_reader import Reader
from services.gateway.metrics import METRICS
from services.moderation.assignment import Assignment
from services.moderation.course import Course

# What is held at the most; the least recently read goes first, and is folded again when it is asked for.
EVENTS_HELD_MAX = 500_000

Key = tuple[int, str, int]


class States:
    """The cache. Every read asks the primary what is new, so that no answer is older than a verdict already given.

    A state is valid until the next ``await``: another request may carry it on.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.held: OrderedDict[Key, Held] = OrderedDict()
        self._loading: dict[Key, asyncio.Task[Held | None]] = {}

    async def course(self, root_account: int, course_id: int) -> Course | None:
        """A course as it is now, None where there is none."""
        held = await self._held((root_account, "course", course_id))
        if held is None:
            return None
        await self._carry_on([held])
        assert isinstance(held.state, Course)
        return held.state

    async def assignment(
        self, root_account: int, assignment_id: int, course_id: int | None = None
    ) -> tuple[Course, Assignment] | None:
        """An assignment and its course as they are now; None where there is none, or it is another course's."""
        held = await self._held((root_account, "assignment", assignment_id))
        if held is None or (course_id is not None and held.stream.course != course_id):
            return None
        course = await self._held((root_account, "course", held.stream.course))
        if course is None:
            return None
        await self._carry_on([course, held])
        assert isinstance(course.state, Course)
        assert isinstance(held.state, Assignment)
        return course.state, held.state

    async def as_of(
        self, root_account: int, assignment_id: int, *, version: int | None = None, at: datetime | None = None
    ) -> tuple[Course, Assignment] | None:
        """As they stood at a version of the assignment or at a time; None before its first event, and beyond now."""
        found = await as_of(self.reader, root_account, assignment_id, version=version, at=at)
        if found is not None:
            METRICS.events_folded.inc(sum(state.version for state in found))
        return found

    async def _held(self, key: Key) -> Held | None:
        held = self.held.get(key)
        if held is not None:
            self.held.move_to_end(key)
            return held
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(key))
            loading.add_done_callback(lambda _: self._loading.pop(key, None))
        # A caller that goes away does not take the others' answer with it.
        return await asyncio.shield(loading)

    async def _load(self, key: Key) -> Held | None:
        root_account, kind, number = key
        course, assignment = (number, None) if kind == "course" else (None, number)
        streams = await self.reader.streams(root_account, course, assignment)
        if not streams:
            return None
        held = Held(streams[0])
        await fold({streams[0].number: held}, await self.reader.events([streams[0].number]))
        METRICS.events_folded.inc(held.version)
        self.held[key] = held
        self._forget_oldest()
        return held

    async def _carry_on(self, held: list[Held]) -> None:
        by_stream = {each.stream.number: each for each in held}
        fresh = await self.reader.events_after({number: each.version for number, each in by_stream.items()})
        for stored in fresh:
            by_stream[stored.stream].apply(stored)
        if fresh:
            METRICS.events_folded.inc(len(fresh))

    def _forget_oldest(self) -> None:
        events = sum(each.version for each in self.held.values())
        while events > EVENTS_HELD_MAX and len(self.held) > 2:
            events -= self.held.popitem(last=False)[1].version
        METRICS.events_held.set(events)
