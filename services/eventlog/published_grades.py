"""Reads the grades that an assignment's publication published."""

import asyncio
import contextlib
from typing import cast

from services.eventlog.aggregates import EVENTS_PER_YIELD, decode_event
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.events import GradePublished


async def load_published_grades(reader: StreamReader, assignment: Assignment) -> list[GradePublished]:
    """Return the grades published up to the version of the state, in their order; none before a publication."""
    if assignment.grades_published_at is None:
        return []
    published = []
    async with contextlib.aclosing(reader.pages({assignment.stream_number: 0}, types=[GradePublished.name])) as pages:
        async for page in pages:
            for number, stored_event in enumerate(page, 1):
                if stored_event.version <= assignment.version:
                    published.append(cast(GradePublished, decode_event(stored_event)))
                if number % EVENTS_PER_YIELD == 0:
                    await asyncio.sleep(0)
    return published
