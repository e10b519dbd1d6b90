"""Reads streams into the cache in the order in which a batch needs them, until they fill it."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from services.eventlog.store import EventStore, Stream

if TYPE_CHECKING:
    from services.commands.state_cache import StateCache

StreamKey: TypeAlias = tuple[int, int]
CachedName: TypeAlias = tuple[str, StreamKey]
"""``course`` and (root account, course), or ``assignment`` and (root account, assignment)."""
ExistingStream: TypeAlias = tuple[CachedName, Stream, int]
"""A stream that exists, and its version."""
# PostgreSQL sorts all events of a query before it returns the first one.
EVENTS_PER_QUERY = 5_000


async def read_streams(
    cache: "StateCache", event_store: EventStore, names: Sequence[CachedName], required: int, snapshot_events: int
) -> set[CachedName]:
    """Read the streams with these names into the cache; return those that exist but were left unread.

    Reading ends where the states that it made reach the cache's ``bytes_max``. The first ``required`` streams are
    read in any case: a command can then be decided, however large they are.

    An assignment with at least ``snapshot_events`` events is read from its snapshot and the events after it. If there
    is none, or as many events follow it, all events are read and a new one is added to ``cache.new_snapshots``: none is
    made of another one. Under locks, for which others wait, there are no snapshots.
    """
    if event_store.is_in_transaction:
        snapshot_events = 0
    streams = {
        get_name(stream): (stream, version)
        for stream, version in await event_store.streams(
            [key for kind, key in names if kind == "assignment"], [key for kind, key in names if kind == "course"]
        )
    }
    existing: list[ExistingStream] = [(name, *streams[name]) for name in names if name in streams]
    required_names = set(names[:required])
    size, read_count = 0, 0
    while read_count < len(existing):
        if size >= cache.bytes_max and existing[read_count][0] not in required_names:
            return {unread for unread, *_ in existing[read_count:]}
        group = _take_group(existing[read_count:], snapshot_events)
        place = 0
        cache.begin(group[0][1])
        is_large = _is_large(group[0], snapshot_events)
        after_version = await _restore(cache, event_store, group[0], snapshot_events) if is_large else 0
        reading = event_store.events([stream.number for _, stream, _ in group], after_version)
        async with contextlib.aclosing(reading) as chunks:
            async for chunk in chunks:
                for event in chunk:
                    while group[place][1].number != event.stream:
                        size += cache.estimate_bytes(*group[place][0])
                        place += 1
                        cache.begin(group[place][1])
                    cache.apply_stored(group[place][1], event)
                name, _, version = group[place]
                if size + cache.estimate_bytes(*name) >= cache.bytes_max and name not in required_names:
                    is_complete = event.version == version
                    if not is_complete:
                        cache.drop(*name)
                    return {unread for unread, *_ in existing[read_count + place + is_complete :]}
        size += cache.estimate_bytes(*group[place][0])
        read_count += len(group)
        if is_large and not after_version:
            await cache.add_snapshot(group[0][1])
    return set()


def get_name(stream: Stream) -> CachedName:
    """Return the name of a stream in the cache."""
    if stream.assignment is None:
        return "course", (stream.root_account, stream.course)
    return "assignment", (stream.root_account, stream.assignment)


def _take_group(streams: Sequence[ExistingStream], snapshot_events: int) -> Sequence[ExistingStream]:
    """Return the first streams that have EVENTS_PER_QUERY events together, or all; one with a snapshot alone."""
    events = 0
    for count, stream in enumerate(streams, 1):
        if _is_large(stream, snapshot_events):
            return streams[: max(count - 1, 1)]
        events += stream[2]
        if events >= EVENTS_PER_QUERY:
            return streams[:count]
    return streams


def _is_large(stream: ExistingStream, snapshot_events: int) -> bool:
    (kind, _), _, version = stream
    return kind == "assignment" and 0 < snapshot_events <= version


async def _restore(cache: "StateCache", event_store: EventStore, existing: ExistingStream, snapshot_events: int) -> int:
    """Put the state of an assignment's snapshot into the cache, and return its version, 0 without a snapshot."""
    _, stream, version = existing
    restored = await event_store.find_snapshot(stream.number, version - snapshot_events + 1)
    if restored is None:
        return 0
    cache.restore(stream, restored)
    return restored.assignment.version
