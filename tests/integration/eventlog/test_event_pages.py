"""A stream of any length is read in pages of limited size, and folds to the state of all its events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.eventlog import stored_events
from services.eventlog.aggregates import LoadedStream, load_as_of
from services.eventlog.moderation_rights import may_have_rights
from services.eventlog.published_grades import load_published_grades
from services.eventlog.store import EventStore, Stream
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course as CourseState
from services.moderation.state_document import state_document
from tests.integration.eventlog.test_complexity import COUNTS
from tests.integration.eventlog.test_erasure import (
    ASSIGNMENT,
    BEN,
    COURSE,
    TA,
    TEACHER,
    Course,
    course,
)

__all__ = ["course"]
COMMENTS = 60
# A page of few events, of few bytes, and of one event.
LIMITS = [(7, 1 << 20), (2_000, 2_000), (2_000, 1)]
STREAMS, EVENTS_PER_STREAM, BLOCKS_PER_EVENT_MAX = 20, 2_000, 6
# The events of all streams by turns, as courses are graded at the same time.
LONG_STREAMS = f"""
insert into stream select n, 1, 1, n, 0 from generate_series(1, {STREAMS}) n;
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select 0, n, 1 + n % {STREAMS}, 1 + n / {STREAMS}, 'grade_hidden', 1,
       json_build_object('text', repeat('x', 200)), '{{}}', now()
from generate_series(0, {STREAMS * EVENTS_PER_STREAM - 1}) n;
"""
POSITIONS = "select e.position from event e where e.stream = $1 order by e.version"


class MeasuredConnection(asyncpg.Connection):
    """``pages``: the sizes of the events of each page that was fetched."""

    pages: list[list[int]]

    async def fetch(self, *arguments: Any, **options: Any) -> Any:
        rows = await super().fetch(*arguments, **options)
        if arguments[0] == stored_events.PAGE:
            self.pages.append([len(row["data"].encode()) for row in rows])
        return rows


@pytest.fixture
async def measured(database_url: str) -> AsyncIterator[MeasuredConnection]:
    connection = await asyncpg.connect(database_url, connection_class=MeasuredConnection)
    connection.pages = []
    yield connection
    await connection.close()


def limit_pages(monkeypatch: pytest.MonkeyPatch, events: int, size: int) -> None:
    monkeypatch.setattr(stored_events, "EVENTS_PER_PAGE", events)
    monkeypatch.setattr(stored_events, "FIRST_EVENTS_PER_PAGE", events)
    monkeypatch.setattr(stored_events, "BYTES_PER_PAGE", size)


async def comment(course: Course, count: int) -> None:
    """Record comments of different lengths, one event each."""
    verdicts = await course.process(
        *(
            course.command(
                "record_submission_comment",
                {
                    "student_id": BEN,
                    "author_id": TA,
                    "comment": f"Comment {number} \N{GRINNING FACE}" * (number % 9 + 1),
                },
            )
            for number in range(count)
        )
    )
    assert [verdict["status"] for verdict in verdicts] == ["accepted"] * count


async def find_streams(course: Course) -> list[Stream]:
    """Return the stream of the assignment and that of its course."""
    return await course.reader.streams(1, None, ASSIGNMENT) + await course.reader.streams(1, COURSE, None)


async def fold_all(course: Course, last_position: int | None = None) -> dict[str, Any]:
    """Fold all events up to a position, read as handlers do."""
    streams = await find_streams(course)
    loaded = {stream.number: LoadedStream(stream) for stream in streams}
    async with contextlib.aclosing(EventStore(course.connection).events(list(loaded))) as chunks:
        async for chunk in chunks:
            for event in chunk:
                if last_position is None or event.position <= last_position:
                    loaded[event.stream].apply(event)
    assignment, own_course = (loaded[stream.number].state for stream in streams)
    assert isinstance(assignment, Assignment)
    assert isinstance(own_course, CourseState)
    return state_document(own_course, assignment)


@pytest.mark.parametrize(("events", "size"), LIMITS)
async def test_state_is_folded_from_pages_of_limited_events_and_bytes(
    course: Course, measured: MeasuredConnection, monkeypatch: pytest.MonkeyPatch, events: int, size: int
) -> None:
    await comment(course, COMMENTS)
    limit_pages(monkeypatch, events, size)
    loaded = await load_as_of(StreamReader(measured), 1, ASSIGNMENT)

    assert loaded is not None
    assert state_document(*loaded) == await fold_all(course)
    assert max(len(page) for page in measured.pages) <= events
    # The last event of a page may exceed it.
    assert max(sum(page[:-1]) for page in measured.pages) < size
    assert sum(len(page) for page in measured.pages) == sum(state.version for state in loaded)
    assert len(measured.pages) >= 10


async def test_small_assignment_is_read_with_one_query(course: Course, measured: MeasuredConnection) -> None:
    await load_as_of(StreamReader(measured), 1, ASSIGNMENT)

    assert len(measured.pages) == 1


@pytest.mark.parametrize(("events", "size"), LIMITS)
async def test_past_states_are_those_of_all_events_up_to_their_position(
    course: Course, monkeypatch: pytest.MonkeyPatch, events: int, size: int
) -> None:
    await comment(course, COMMENTS)
    assignment_stream, _ = await find_streams(course)
    rows = await course.connection.fetch(POSITIONS, assignment_stream.number)
    positions = [row[0] for row in rows]
    limit_pages(monkeypatch, events, size)
    for version in range(1, len(positions) + 1, 10):
        loaded = await load_as_of(course.reader, 1, ASSIGNMENT, version=version)
        assert loaded is not None
        assert loaded[1].version == version
        assert state_document(*loaded) == await fold_all(course, positions[version - 1])


async def test_published_grades_and_rights_are_read_in_pages(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = await load_as_of(course.reader, 1, ASSIGNMENT)
    assert loaded is not None
    published = await load_published_grades(course.reader, loaded[1])
    limit_pages(monkeypatch, 1, 1)

    assert len(published) > 0
    assert await load_published_grades(course.reader, loaded[1]) == published
    assert await may_have_rights(course.reader, 1, ASSIGNMENT, TEACHER)
    assert not await may_have_rights(course.reader, 1, ASSIGNMENT, TA)


async def test_pages_beyond_the_limit_wait(course: Course) -> None:
    limit = asyncio.Semaphore(1)
    reader = StreamReader(course.connection, limit)
    versions = {stream.number: 0 for stream in await find_streams(course)}
    async with contextlib.aclosing(reader.pages(versions)) as pages:
        await anext(pages)
        assert limit.locked()

    assert not limit.locked()


@pytest.mark.parametrize("statistics", ["never analyzed", "analyzed"])
async def test_page_costs_the_same_in_a_stream_of_any_length(
    database_url: str, monkeypatch: pytest.MonkeyPatch, statistics: str
) -> None:
    """Measured in blocks that PostgreSQL reads: none of a page's queries sorts the whole stream."""
    connection = await asyncpg.connect(database_url, server_settings={"jit": "off"})
    try:
        await connection.execute("alter table event set (autovacuum_enabled = off)")
        await connection.execute(LONG_STREAMS)
        if statistics == "analyzed":
            await connection.execute("analyze event")
        limit_pages(monkeypatch, 50, 1 << 20)
        reader, versions = StreamReader(connection), []
        async with connection.transaction(isolation="repeatable_read"):
            before = await connection.fetchrow(COUNTS)
            async with contextlib.aclosing(reader.pages({1: 0})) as pages:
                async for page in pages:
                    versions += [event.version for event in page]
            after = await connection.fetchrow(COUNTS)
    finally:
        await connection.close()

    assert before is not None
    assert after is not None
    assert versions == list(range(1, EVENTS_PER_STREAM + 1))
    assert after["blocks"] - before["blocks"] < BLOCKS_PER_EVENT_MAX * EVENTS_PER_STREAM
