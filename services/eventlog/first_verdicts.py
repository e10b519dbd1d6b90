"""The first verdicts of repeated command ids, read up to a size: a kept verdict may take megabytes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg

# $1 root accounts, $2 command ids.
BODIES = """
select k.i, (select v.body from decided_command c
             join verdict_body v on v.shard = c.shard and v.number = c.number and v.recorded_at = c.recorded_at
             where c.root_account = k.root and c.command_id = k.id and c.first)
from unnest($1::bigint[], $2::uuid[]) with ordinality k(root, id, i) order by k.i
"""
BODIES_PER_FETCH = 8


@dataclass(frozen=True, slots=True)
class FirstVerdict:
    """The verdict that settled a command id; ``body`` is JSON, None if it is archived, or not read (``is_loaded``)."""

    content_hash: bytes
    body: str | None
    is_loaded: bool = True


async def load_bodies(
    connection: "asyncpg.Connection[asyncpg.Record]",
    first_verdicts: dict[tuple[str, int], FirstVerdict],
    keys: Sequence[tuple[str, int]],
    size_max: int,
) -> None:
    """Read the bodies of verdicts, by (command id, root account) in order, until they have ``size_max`` characters.

    At least one is read; the others are unchanged.
    """
    missing = [key for key in dict.fromkeys(keys) if key in first_verdicts and not first_verdicts[key].is_loaded]
    if not missing:
        return
    size = 0
    async with connection.transaction():
        cursor = await connection.cursor(BODIES, [root for _, root in missing], [command for command, _ in missing])
        while size < size_max and (rows := await cursor.fetch(BODIES_PER_FETCH)):
            for ordinal, body in rows:
                key = missing[ordinal - 1]
                first_verdicts[key] = replace(first_verdicts[key], body=body, is_loaded=True)
                size += len(body or "")
