"""What would come of a record if it came now: decided as the handler decides, and nothing written."""

from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from aiokafka import ConsumerRecord

from services.commands.authorization import Authority
from services.commands.batch_decider import CONFIGURE, Decisions, Fresh, Record, read
from services.commands.parse import Parsed
from services.commands.state_cache import States
from services.eventlog.append_batch import Batch
from services.eventlog.store import Log
from services.moderation.commands import ASSIGNMENT_COMMANDS

UNSTORED = (0, bytes(16))


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """``verdict``: its body; None where the record is unreadable, for ``reason``. ``events``: what would happen."""

    verdict: dict[str, Any] | None
    reason: str | None
    message: str | None
    events: tuple[str, ...]


async def rehearse(
    connection: "asyncpg.Connection[asyncpg.Record]", record: Record, authority: Authority | None
) -> Rehearsal:
    """Decide a record on the log as it is, in a transaction that PostgreSQL itself lets write nothing."""
    if authority is not None:
        await authority.prepare([record])
    item = read(record)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        log = Log(connection)
        looked_up = await log.look_up([item.shard], [] if item.key is None else [item.key[0]])
        states, fresh = States(), Fresh()
        if isinstance(item.said, Parsed):
            command = item.said.command
            await states.load(log, [command])
            root, course, assignment = command.root_account_id, command.course_id, command.assignment_id
            if command.type not in ASSIGNMENT_COMMANDS:
                fresh[root, course, None] = UNSTORED
            if command.type == CONFIGURE:
                fresh[root, course, assignment] = UNSTORED
        batch = Batch(0, looked_up.at, looked_up.heads, {})
        Decisions(states, batch, looked_up.settled, fresh, authority).settle(item)
    events = tuple(event[5] for event in batch.events)
    if batch.verdicts:
        return Rehearsal(orjson.loads(batch.verdicts[0][10]), None, None, events)
    return Rehearsal(None, batch.dead_letters[0][8], batch.dead_letters[0][9], ())


def record_of(
    topic: str,
    partition: int,
    appended_at: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> Record:
    """A record that is on no topic; ``appended_at``: milliseconds since 1970."""
    return ConsumerRecord[Any, Any](
        topic=topic,
        partition=partition,
        offset=0,
        timestamp=appended_at,
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=tuple(headers),  # type: ignore[arg-type]  # A value may be null.
    )
