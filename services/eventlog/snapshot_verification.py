"""Compares snapshots with the states that the log's events lead to."""

import contextlib
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

import asyncpg

from services.eventlog.aggregates import apply_assignment_event, new_assignment
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.snapshot_code import form_id
from services.eventlog.snapshot_form import encode_state, take_texts
from services.eventlog.snapshots import SnapshotDamaged, read_snapshot
from services.eventlog.store import Stream
from services.eventlog.stored_events import read_events
from services.moderation.assignment import Assignment

SNAPSHOT_STREAMS = """
select s.number, s.root_account, s.course, s.assignment, s.shard
from snapshot k join stream s on s.number = k.stream order by s.number
"""
# $1 stream, $2 form.
IS_USED = "select exists (select from snapshot s where s.stream = $1 and s.form = $2)"
Result = Literal["equal", "different", "damaged", "unused"]


class SnapshotFinding(NamedTuple):
    """``result`` damaged: it is not what was written, or the log has another event of its version; unused: other code
    made it.
    """

    stream: Stream
    result: Result


async def verify_snapshots(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[SnapshotFinding]:
    """Read each snapshot and all events up to its version, and compare the states.

    Raises:
        CodeUnreadable: nothing tells which snapshots are of this code.
        POSTGRES_ERRORS: PostgreSQL is away.
    """
    for row in await connection.fetch(SNAPSHOT_STREAMS):
        stream = Stream(*row)
        # One view of snapshot, keys and events: a person may be erased meanwhile, or the snapshot replaced.
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            result = await _compare(connection, stream)
        yield SnapshotFinding(stream, result)


async def _compare(connection: "asyncpg.Connection[asyncpg.Record]", stream: Stream) -> Result:
    if not await connection.fetchval(IS_USED, stream.number, form_id()):
        return "unused"
    encryption_keys = EncryptionKeys(connection)
    try:
        restored = await read_snapshot(connection, encryption_keys, stream.number)
    except SnapshotDamaged:
        return "damaged"
    if restored is None:
        return "damaged"
    folded = await _fold(connection, encryption_keys, stream, restored.assignment.version)
    # Encoded, because equal numbers may be written differently: 5 and 5.0 are different states to a reader.
    return "equal" if folded is not None and _describe(folded) == _describe(restored.assignment) else "different"


def _describe(assignment: Assignment) -> tuple[object, ...]:
    return assignment, encode_state(assignment), take_texts(assignment)


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
