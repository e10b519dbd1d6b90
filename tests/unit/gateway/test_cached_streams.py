"""The gateway keeps states up to a number of bytes, whatever number of events they were folded from."""

import pytest

from services.eventlog.aggregates import LoadedStream
from services.eventlog.store import Stream
from services.gateway.cached_streams import CachedStreams, get_key
from tests.fixtures.in_memory_course import ESSAY, TA1, moderated_course

COURSE = 1001
TEXT_BYTES = 1_000_000
UNBOUNDED = 1 << 40


def load_assignment(number: int, text_bytes: int = 0) -> LoadedStream:
    memory = moderated_course()
    return LoadedStream(Stream(number, 1, COURSE, number, 0), memory.assignments[ESSAY], text_bytes)


def load_course() -> LoadedStream:
    return LoadedStream(Stream(1_000_000, 1, COURSE, None, 0), moderated_course().courses[COURSE])


def list_assignments(cached_streams: CachedStreams) -> list[int | None]:
    return [loaded_stream.stream.assignment for loaded_stream in cached_streams]


def test_least_recently_read_streams_are_dropped_beyond_the_bytes() -> None:
    cached_streams = CachedStreams(bytes_max=7 * TEXT_BYTES // 2)
    for number in (1, 2, 3):
        cached_streams.put(load_assignment(number, TEXT_BYTES))
    assert cached_streams.get((1, "assignment", 1)) is not None
    cached_streams.put(load_assignment(4, TEXT_BYTES))

    assert list_assignments(cached_streams) == [3, 1, 4]
    assert 3 * TEXT_BYTES < cached_streams.byte_count <= 7 * TEXT_BYTES // 2
    assert cached_streams.get((1, "assignment", 2)) is None


def test_stream_that_grows_drops_others() -> None:
    cached_streams = CachedStreams(bytes_max=3 * TEXT_BYTES)
    grown = load_assignment(3)
    for loaded_stream in (load_assignment(1, TEXT_BYTES), load_assignment(2, TEXT_BYTES), grown):
        cached_streams.put(loaded_stream)
    grown.large_event_bytes += 3 * TEXT_BYTES // 2
    cached_streams.measure(grown)

    assert list_assignments(cached_streams) == [2, 3]


def test_assignment_and_its_course_are_kept_however_large() -> None:
    cached_streams = CachedStreams(bytes_max=1)
    cached_streams.put(load_course())
    cached_streams.put(load_assignment(1, TEXT_BYTES))

    assert list_assignments(cached_streams) == [None, 1]


def test_dropped_and_replaced_streams_count_as_nothing() -> None:
    cached_streams = CachedStreams(UNBOUNDED)
    dropped, replaced = load_assignment(1, TEXT_BYTES), load_assignment(2, TEXT_BYTES)
    cached_streams.put(dropped)
    cached_streams.put(replaced)
    cached_streams.put(load_assignment(2))
    cached_streams.drop(get_key(dropped.stream))
    expected = load_assignment(2).estimated_bytes, load_assignment(2).version
    for loaded_stream in (dropped, replaced):
        cached_streams.measure(loaded_stream)

    assert (cached_streams.byte_count, cached_streams.event_count) == expected


@pytest.mark.parametrize("changed", ["events", "texts"])
def test_estimate_grows_with_grades_and_texts(changed: str) -> None:
    memory = moderated_course()
    loaded_stream = LoadedStream(Stream(1, 1, COURSE, ESSAY, 0), memory.assignments[ESSAY])
    before = loaded_stream.estimated_bytes
    if changed == "texts":
        loaded_stream.large_event_bytes = TEXT_BYTES
    else:
        memory.grade(TA1, 31, 5)

    assert loaded_stream.estimated_bytes > before
