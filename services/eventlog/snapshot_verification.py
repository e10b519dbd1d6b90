"""Compares snapshots with the states that the log's events lead to."""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

import asyncpg

from services.eventlog.aggregates import apply_assignment_event, new_assignment
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.snapshots import read_snapshot
from services.eventlog.store import Stream
from services.eventlog.stored_events import read_events
from services.moderation.assignment import Assignment

SNAPSHOT_STREAMS = """
select s.number, s.root_account, s.course, s.assignment, s.shard
from snapshot k join stream s on s.number = k.stream order by s.number
"""


class SnapshotFinding(NamedTuple):
    """``result`` unused: it was made by other code, or of an event that the log does not have."""

    stream: Stream
    result: Literal["equal", "different", "unused"]


async def verify_snapshots(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[SnapshotFinding]:
    """Read each snapshot and all events up to its version, and compare the states. Raises POSTGRES_ERRORS."""
    encryption_keys = EncryptionKeys(connection)
    for row in await connection.fetch(SNAPSHOT_STREAMS):
        stream = Stream(*row)
        restored = await read_snapshot(connection, encryption_keys, stream.number)
        if restored is None:
            yield SnapshotFinding(stream, "unused")
            continue
        folded = await _fold(connection, encryption_keys, stream, restored.assignment.version)
        yield SnapshotFinding(stream, "equal" if restored.assignment == folded else "different")


async def _fold(
    connection: "asyncpg.Connection[asyncpg.Record]", encryption_keys: EncryptionKeys, stream: Stream, version: int
) -> Assignment | None:
    assignment: Assignment | None = None
    async with contextlib.aclosing(read_events(connection, encryption_keys, [stream.number])) as chunks:
        async for stored_events in chunks:
            for stored_event in stored_events:
                if stored_event.version > version:
                    return assignment
                assignment = assignment or new_assignment(stream, stored_event)
                apply_assignment_event(assignment, stored_event)
    return assignment
