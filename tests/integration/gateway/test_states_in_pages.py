"""A gateway that reads states in pages answers with one position, and without the texts of erased persons."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

import asyncpg
import pytest

from services.eventlog.stored_events import StoredEvent
from services.eventlog.stream_reader import StreamReader
from services.gateway.state_cache import StateCache
from services.moderation.state_document import state_document
from tests.integration.eventlog.test_erasure import (
    ANN,
    ANNS_TEXTS,
    ASSIGNMENT,
    CACHE_BYTES,
    Course,
    assert_absent,
    course,
)
from tests.integration.eventlog.test_event_pages import (
    COMMENTS,
    POSITIONS,
    MeasuredConnection,
    comment,
    find_streams,
    fold_all,
    limit_pages,
    measured,
)

__all__ = ["course", "measured"]
CONNECTIONS = 4


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    async with asyncpg.create_pool(database_url, min_size=0, max_size=CONNECTIONS) as pool:
        yield pool


async def test_gateway_that_fell_far_behind_reads_pages(
    course: Course, measured: MeasuredConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = StateCache(StreamReader(measured), CACHE_BYTES)
    await cache.get_assignment(1, ASSIGNMENT)
    await comment(course, COMMENTS)
    limit_pages(monkeypatch, 7, 1 << 20)
    measured.pages.clear()
    loaded = await cache.get_assignment(1, ASSIGNMENT)

    assert loaded is not None
    assert state_document(*loaded) == await fold_all(course)
    assert max(len(page) for page in measured.pages) == 7
    assert cache.streams.event_count == sum(state.version for state in loaded)
    assert 0 < cache.streams.byte_count < CACHE_BYTES


async def test_concurrent_readers_get_course_and_assignment_of_one_position(
    course: Course, pool: "asyncpg.Pool[asyncpg.Record]", monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_pages(monkeypatch, 3, 1 << 20)
    cache = StateCache(StreamReader(pool), CACHE_BYTES)
    seen: list[tuple[int, int]] = []
    is_written = asyncio.Event()

    async def write() -> None:
        for number in range(15):
            users = [{"user_id": ANN, "name": f"Ann {number}"}]
            await course.process(course.command("upsert_users", {"users": users}))
            await comment(course, 5)
        is_written.set()

    async def read() -> None:
        while not is_written.is_set():
            loaded = await cache.get_assignment(1, ASSIGNMENT)
            assert loaded is not None
            seen.append((loaded[0].version, loaded[1].version))

    await asyncio.gather(write(), *(read() for _ in range(CONNECTIONS)))
    assignment_stream, course_stream = await find_streams(course)
    ends = [
        [0, *(row[0] for row in await course.connection.fetch(POSITIONS, stream.number)), 1 << 40]
        for stream in (course_stream, assignment_stream)
    ]
    # Each was current from the position of its version until that of the next one.
    spans = [list(itertools.pairwise(positions)) for positions in ends]
    apart = {
        (course_version, version)
        for course_version, version in seen
        if max(spans[0][course_version][0], spans[1][version][0])
        >= min(spans[0][course_version][1], spans[1][version][1])
    }

    assert len(set(seen)) > 1
    assert apart == set()


class ErasingReader(StreamReader):
    """Erases a person between the first page of the assignment and the next one."""

    def __init__(self, course: Course, assignment_stream: int) -> None:
        super().__init__(course.connection)
        self.course = course
        self.assignment_stream = assignment_stream
        self.has_erased = False

    async def pages(
        self, versions: Mapping[int, int], last_position: int | None = None, types: Sequence[str] | None = None
    ) -> AsyncGenerator[list[StoredEvent], None]:
        async with contextlib.aclosing(super().pages(versions, last_position, types)) as pages:
            async for page in pages:
                yield page
                if self.assignment_stream in versions and not self.has_erased:
                    self.has_erased = True
                    await self.course.erase(ANN)


async def test_person_who_is_erased_while_an_assignment_is_read_is_not_in_its_state(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment_stream, _ = await find_streams(course)
    rows = await course.connection.fetch(POSITIONS, assignment_stream.number)
    # All but the last event, which does not hold the texts.
    limit_pages(monkeypatch, len(rows) - 1, 1 << 20)
    reader = ErasingReader(course, assignment_stream.number)
    cache = StateCache(reader, CACHE_BYTES)
    loaded = await cache.get_assignment(1, ASSIGNMENT)

    assert reader.has_erased
    assert loaded is not None
    assert_absent(ANNS_TEXTS, repr(loaded))
