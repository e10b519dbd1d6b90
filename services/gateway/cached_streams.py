"""The loaded streams that a gateway keeps, bounded by their memory."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from services.eventlog.aggregates import LoadedStream
from services.eventlog.store import Stream

StreamKey = tuple[int, str, int]
"""Root account, ``course`` or ``assignment``, id."""
# A request needs an assignment and its course.
STREAMS_MIN = 2


@dataclass(slots=True)
class _Entry:
    loaded_stream: LoadedStream
    bytes: int = 0
    events: int = 0


class CachedStreams:
    """Loaded streams by key. Beyond ``bytes_max`` the least recently read are dropped; see ``measure``.

    ``byte_count`` and ``event_count``: the estimated memory of all, and how many events they were folded from.
    """

    def __init__(self, bytes_max: int) -> None:
        self.byte_count = 0
        self.event_count = 0
        self._bytes_max = bytes_max
        self._entries: OrderedDict[StreamKey, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[LoadedStream]:
        """Yield the streams, the least recently read first. They may be dropped meanwhile."""
        return iter([entry.loaded_stream for entry in self._entries.values()])

    def clear(self) -> None:
        """Drop all streams."""
        for loaded_stream in self:
            self.drop(get_key(loaded_stream.stream))

    def get(self, key: StreamKey) -> LoadedStream | None:
        """Return a stream, and count it as just read; None if it is not cached."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry.loaded_stream

    def put(self, loaded_stream: LoadedStream) -> None:
        """Keep a stream in place of an earlier one with its key."""
        self.drop(get_key(loaded_stream.stream))
        self._entries[get_key(loaded_stream.stream)] = _Entry(loaded_stream)
        self.measure(loaded_stream)

    def measure(self, loaded_stream: LoadedStream) -> None:
        """Count what a stream takes after events were applied to it, and drop others if it is too much.

        One that was dropped meanwhile counts as nothing: it ends with the requests that use it.
        """
        entry = self._entries.get(get_key(loaded_stream.stream))
        if entry is None or entry.loaded_stream is not loaded_stream:
            return
        size, events = loaded_stream.estimated_bytes, loaded_stream.version
        self.byte_count += size - entry.bytes
        self.event_count += events - entry.events
        entry.bytes, entry.events = size, events
        while self.byte_count > self._bytes_max and len(self._entries) > STREAMS_MIN:
            self.drop(next(iter(self._entries)))

    def drop(self, key: StreamKey) -> None:
        """Drop a stream, if it is cached."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.byte_count -= entry.bytes
            self.event_count -= entry.events


def get_key(stream: Stream) -> StreamKey:
    """Return the key of a stream."""
    if stream.assignment is None:
        return stream.root_account, "course", stream.course
    return stream.root_account, "assignment", stream.assignment
