"""What would come of a record if it came now: decided as the handler decides, and nothing written."""

from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from aiokafka import ConsumerRecord

from services.commands.authorization import CommandAuthorizer
from services.commands.batch_decider import CONFIGURE, BatchDecider, NewStreamIds, Record, parse_record
from services.commands.parse import ParsedCommand
from services.commands.state_cache import StateCache
from services.eventlog.append_batch import AppendBatch
from services.eventlog.store import EventStore
from services.moderation.commands import ASSIGNMENT_COMMANDS

PLACEHOLDER_STREAM = (0, bytes(16))


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """``verdict``: its body; None where the record is unreadable, for ``reason``. ``events``: what would happen."""

    verdict: dict[str, Any] | None
    reason: str | None
    message: str | None
    events: tuple[str, ...]


async def dry_run(
    connection: "asyncpg.Connection[asyncpg.Record]",
    record: Record,
    authorizer: CommandAuthorizer | None,
    live_events_shard: int | None = None,
) -> DryRunResult:
    """Decide a record on the log as it is, in a transaction that PostgreSQL itself lets write nothing."""
    if authorizer is not None:
        await authorizer.prefetch_keys([record])
    incoming = parse_record(record, live_events_shard)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        event_store = EventStore(connection)
        batch_context = await event_store.read_batch_context(
            [incoming.shard], [] if incoming.command_key is None else [incoming.command_key[0]]
        )
        state_cache, new_stream_ids = StateCache(), NewStreamIds()
        if isinstance(incoming.parse_result, ParsedCommand):
            command = incoming.parse_result.command
            await state_cache.load(event_store, [command])
            root_account_id, course_id, assignment_id = (
                command.root_account_id,
                command.course_id,
                command.assignment_id,
            )
            if command.type not in ASSIGNMENT_COMMANDS:
                new_stream_ids[root_account_id, course_id, None] = PLACEHOLDER_STREAM
            if command.type == CONFIGURE:
                new_stream_ids[root_account_id, course_id, assignment_id] = PLACEHOLDER_STREAM
        append_batch = AppendBatch(0, batch_context.decided_at, batch_context.heads, {})
        BatchDecider(state_cache, append_batch, batch_context.first_verdicts, new_stream_ids, authorizer).decide_record(
            incoming
        )
    events = tuple(event[5] for event in append_batch.events)
    if append_batch.verdicts:
        return DryRunResult(orjson.loads(append_batch.verdicts[0][10]), None, None, events)
    return DryRunResult(None, append_batch.dead_letters[0][8], append_batch.dead_letters[0][9], ())


def build_synthetic_record(
    topic: str,
    partition: int,
    append_time: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> Record:
    """A record that is on no topic; ``appended_at``: milliseconds since 1970."""
    return ConsumerRecord[Any, Any](
        topic=topic,
        partition=partition,
        offset=0,
        timestamp=append_time,
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=tuple(headers),  # type: ignore[arg-type]  # A value may be null.
    )
