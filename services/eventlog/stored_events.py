"""Stored events of streams, read in chunks of a limited size."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import unseal_events
from services.eventlog.postgres import Pool

# $1 streams, $2 version. Only the first event's metadata is needed: it has the stream's secret.
EVENTS = """
select e.stream, e.position, e.version, e.type, e.type_version, e.data,
       case when e.version = 1 then e.metadata else '{}' end, e.recorded_at
from event e where e.stream = any($1::bigint[]) and e.version > $2 order by array_position($1, e.stream), e.version
"""
EVENTS_PER_FETCH = 5_000
# An event may take a megabyte: the number to fetch depends on the size of the previous events.
FIRST_EVENTS_PER_FETCH = 50
BYTES_PER_FETCH = 8 << 20
# $1 streams of one course, $2 versions after which, $3 the last position (null: no limit), $4 types (null: all),
# $5 rows and $6 bytes. A lateral join reads the index from the version on, regardless of the planner's statistics.
PAGE = """
select e.stream, e.position, e.version, e.type, e.type_version, e.data,
       case when e.version = 1 then e.metadata else '{}' end, e.recorded_at
from (
    select p.*, sum(octet_length(p.data::text)) over (order by p.position rows unbounded preceding)
           - octet_length(p.data::text) as bytes_before
    from (
        select n.* from unnest($1::bigint[], $2::integer[]) k(stream, version)
        cross join lateral (
            select e.* from event e
            where e.stream = k.stream and e.version > k.version and ($3::bigint is null or e.position <= $3)
              and ($4::text[] is null or e.type = any($4))
            order by e.version limit $5
        ) n
        order by n.position limit $5
    ) p
) e
where e.bytes_before < $6
order by e.position
"""
# A page and what is made of it are in memory at once, for each of the readers of a process.
EVENTS_PER_PAGE = 2_000
FIRST_EVENTS_PER_PAGE = 500
BYTES_PER_PAGE = 2 << 20
OCTETS_PER_CHARACTER_MAX = 4
UNLIMITED: AbstractAsyncContextManager[object] = contextlib.nullcontext()


class StoredEvent(NamedTuple):
    """A stored event; ``data`` and ``metadata`` are JSON."""

    stream: int
    position: int
    version: int
    type: str
    type_version: int
    data: str
    metadata: str
    recorded_at: datetime


as_stored_event: Callable[[Iterable[Any]], StoredEvent] = functools.partial(tuple.__new__, StoredEvent)
"""Makes an event from a row's columns, in a fifth of the time of the constructor with keyword arguments."""


async def read_events(
    connection: "asyncpg.Connection[asyncpg.Record]",
    encryption_keys: EncryptionKeys,
    streams: Sequence[int],
    after_version: int = 0,
) -> AsyncGenerator[list[StoredEvent], None]:
    """Yield the events of the streams after a version in chunks, prefetching the next chunk.

    Stream by stream, and each in order.
    """
    async with connection.transaction():
        cursor = await connection.cursor(EVENTS, streams, after_version)
        rows = await cursor.fetch(FIRST_EVENTS_PER_FETCH)
        while rows:
            stored_events = await unseal_events(encryption_keys, list(map(as_stored_event, rows)))
            size = sum(len(event.data) + len(event.metadata) for event in stored_events)
            events_per_fetch = min(BYTES_PER_FETCH * len(rows) // max(size, 1) + 1, EVENTS_PER_FETCH)
            next_fetch = asyncio.create_task(cursor.fetch(events_per_fetch))
            await asyncio.sleep(0)  # Let the prefetch send its query before the caller uses these rows.
            try:
                yield stored_events
                rows = await next_fetch
            finally:
                await asyncio.gather(next_fetch, return_exceptions=True)


async def read_pages(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    encryption_keys: EncryptionKeys,
    versions: Mapping[int, int],
    last_position: int | None = None,
    types: Sequence[str] | None = None,
    limit: AbstractAsyncContextManager[object] = UNLIMITED,
) -> AsyncGenerator[list[StoredEvent], None]:
    """Yield the events of a course's streams after a version of each in pages, by position.

    ``last_position``: read up to it, else up to the last event there is. ``types``: only events of these. ``limit``: is
    held while a page is in memory; close the generator (``contextlib.aclosing``), which releases it.

    A page has at most EVENTS_PER_PAGE events, and none after its events reach BYTES_PER_PAGE. Each is a query of its
    own: a pool's connection is not kept between them, nor is a transaction open. The streams share a shard, where
    positions are given in the order of commits: what is appended meanwhile comes later, and when the pages end they are
    as of one position, that of the last query.
    """
    read_versions, rows_max, is_last = dict(versions), FIRST_EVENTS_PER_PAGE, False
    while not is_last:
        async with limit:
            rows = await connection.fetch(
                PAGE, list(read_versions), list(read_versions.values()), last_position, types, rows_max, BYTES_PER_PAGE
            )
            if not rows:
                return
            page = list(map(as_stored_event, rows))
            read_versions.update((event.stream, event.version) for event in page)
            # Not of the events that are yielded: personal texts are longer while they are encrypted.
            size = sum(count_octets_max(event.data) for event in page)
            is_last = len(page) < rows_max and size < BYTES_PER_PAGE
            rows_max = min(BYTES_PER_PAGE * len(page) // max(size, 1) + 1, EVENTS_PER_PAGE)
            yield await unseal_events(encryption_keys, page)


def count_octets_max(text: str) -> int:
    """Return how many octets a text has in UTF-8 at most; exactly as many if it is ASCII."""
    return len(text) if text.isascii() else OCTETS_PER_CHARACTER_MAX * len(text)
