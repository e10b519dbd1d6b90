"""Reads the ids under which rows of the log are published, by output and sequence number."""

from collections.abc import Mapping, Sequence

import asyncpg

from services.eventlog.feed_history import OriginalRecord
from services.eventlog.postgres import Pool

ARCHIVED = "archived"
"""Replaces the id of an archived verdict, which is not known."""


def _build_query(id_expression: str, table: str, sequence_column: str) -> str:
    """Build the query for the ids of rows; binds: $1 shards, $2 sequence numbers. Null for a row that is missing."""
    return f"""
select (select {id_expression} from {table} where t.shard = k.shard and t.{sequence_column} = k.number)
from unnest($1::smallint[], $2::bigint[]) with ordinality k(shard, number, i) order by k.i
"""


_DEAD_LETTER_ID = "s.topic || '/' || t.partition || '/' || t.\"offset\" || '/' || t.append_time"
_QUERIES: Mapping[str, str] = {
    "verdicts": _build_query(f"coalesce(t.metadata ->> 'id', '{ARCHIVED}')", "verdict t", "number"),
    "events": _build_query("t.metadata ->> 'id'", "event t", "position"),
    "live-events": _build_query("t.metadata ->> 'live_id'", "event t", "live_number"),
    "caliper": _build_query("t.metadata ->> 'caliper_id'", "event t", "live_number"),
    "dead-letters": _build_query(_DEAD_LETTER_ID, "dead_letter t join source s on s.number = t.source", "number"),
}


async def read_record_ids(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    output: str,
    shards: Sequence[int],
    sequences: Sequence[int],
) -> list[str | None]:
    """Return the id of each row, by shard and sequence number; None for one that the log does not have, or ARCHIVED.

    It is the record's ``ce_id``, for a dead letter see :func:`dead_letter_id`. Raises POSTGRES_ERRORS.
    """
    return [row[0] for row in await connection.fetch(_QUERIES[output], shards, sequences)]


def dead_letter_id(origin: OriginalRecord) -> str:
    """Return the id of a dead letter, which has no ``ce_id``: the record it came from."""
    return f"{origin.topic}/{origin.partition}/{origin.offset}/{origin.append_time}"
