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
    cache: "StateCache", event_store: EventStore, names: Sequence[CachedName], required: int
) -> set[CachedName]:
    """Read the streams with these names into the cache; return those that exist but were left unread.

    Reading ends where the states that it made reach the cache's ``bytes_max``. The first ``required`` streams are
    read in any case: a command can then be decided, however large they are.
    """
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
        group = _take_group(existing[read_count:])
        place = 0
        cache.begin(group[0][1])
        async with contextlib.aclosing(event_store.events([stream.number for _, stream, _ in group])) as chunks:
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
    return set()


def get_name(stream: Stream) -> CachedName:
    """Return the name of a stream in the cache."""
    if stream.assignment is None:
        return "course", (stream.root_account, stream.course)
    return "assignment", (stream.root_account, stream.assignment)


def _take_group(streams: Sequence[ExistingStream]) -> Sequence[ExistingStream]:
    """Return the first streams that have EVENTS_PER_QUERY events together, or all."""
    events = 0
    for count, (_, _, version) in enumerate(streams, 1):
        events += version
        if events >= EVENTS_PER_QUERY:
            return streams[:count]
    return streams
