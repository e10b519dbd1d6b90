"""The ceiling of PostgreSQL: plain inserts of the rows that a handler appends."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import asyncpg

from services.eventlog.append_batch import AppendBatch
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore

INSERT_EVENTS = """
insert into event (shard, position, live_number, stream, version, type, type_version, data, metadata, recorded_at)
select e.shard, e.position, null, e.stream, e.version, e.type, 1, e.data, e.metadata, $2
from unnest($1::event_row[]) e
"""
INSERT_COMMANDS = """
insert into decided_command (shard, number, root_account, command_id, first, content_hash, source, partition, "offset",
                             append_time, recorded_at)
select v.shard, v.number, v.root_account, v.command_id, v.first, v.content_hash, $2, v.partition, v."offset",
       v.append_time, $3
from unnest($1::verdict_row[]) v
"""
INSERT_BODIES = """
insert into verdict_body (recorded_at, shard, number, key, body, metadata)
select $2, v.shard, v.number, v.key, v.body, v.metadata
from unnest($1::verdict_row[]) v
"""
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def measure_plain_inserts(url: str, batches: Sequence[AppendBatch]) -> float:
    """Measure commands per second if the rows of each batch are inserted in one transaction, with the same indexes."""

    async def insert(connection: "Connection", batch: AppendBatch) -> None:
        async with connection.transaction():
            await connection.execute(INSERT_EVENTS, batch.events, batch.decided_at)
            await connection.execute(INSERT_COMMANDS, batch.verdicts, batch.incarnation, batch.decided_at)
            await connection.execute(INSERT_BODIES, batch.verdicts, batch.decided_at)

    return await _measure_rate(url, batches, insert)


async def measure_appends(url: str, batches: Sequence[AppendBatch]) -> float:
    """Measure commands per second of the append alone."""

    async def append(connection: "Connection", batch: AppendBatch) -> None:
        if not await EventStore(connection).append(batch):
            raise RuntimeError("the log refused a batch that was decided on a copy of it: the benchmark is broken")

    return await _measure_rate(url, batches, append)


async def _measure_rate(
    url: str, batches: Sequence[AppendBatch], write: "Callable[[Connection, AppendBatch], Awaitable[None]]"
) -> float:
    connection = await connect(url, "bench", WRITER)
    try:
        # The first batch includes planning, which a running handler has behind it.
        await write(connection, batches[0])
        started_at = time.perf_counter()
        for batch in batches[1:]:
            await write(connection, batch)
        seconds = time.perf_counter() - started_at
    finally:
        await connection.close()
    return sum(len(batch.verdicts) for batch in batches[1:]) / seconds
