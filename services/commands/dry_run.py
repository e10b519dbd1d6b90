"""Decides a record as the handler would now, without writing anything."""

from dataclasses import dataclass
from typing import Any

import asyncpg
import orjson
from aiokafka import ConsumerRecord

from schemas.fields import format_time
from services.commands.authorization import CommandAuthorizer
from services.commands.command_state import PLACEHOLDER_STREAM_ID
from services.commands.decision import decide_command
from services.commands.deduplication import deduplicate
from services.commands.incoming_command import IncomingDeadLetter, IncomingRecord, Record, parse_record
from services.commands.parse import InvalidCommand
from services.commands.sealing import find_person_to_erase, recognize_repeated_commands
from services.commands.serialization import serialize
from services.commands.state_cache import StateCache
from services.eventlog.installation import read_installation
from services.eventlog.store import EventStore


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """``verdict``: its body, None for a dead letter, with its ``reason``. ``events``: the names of the new events."""

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
    """Run the steps before the append for a record, in a read-only transaction."""
    shard_count = (await read_installation(connection)).shard_count
    incoming: IncomingRecord = parse_record(record, shard_count, live_events_shard)
    if authorizer is not None:
        [incoming] = await authorizer.authorize([incoming])
    if isinstance(incoming, IncomingDeadLetter):
        return DryRunResult(None, incoming.reason, incoming.message, ())
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        event_store, state_cache = EventStore(connection), StateCache()
        context = await event_store.read_batch_context([incoming.shard], [incoming.command.command_id])
        await recognize_repeated_commands(event_store.encryption_keys, [incoming], context.first_verdicts)
        await event_store.load_first_verdicts(context.first_verdicts, [incoming.command_key], size_max=1)
        person = find_person_to_erase(incoming.command)
        has_personal_data = person is not None and bool(await event_store.encryption_keys.of_persons([person]))
        if not isinstance(incoming.command, InvalidCommand):
            new_streams = await state_cache.load(event_store, [incoming.command])
            state_cache.assign_stream_ids(new_streams, [PLACEHOLDER_STREAM_ID] * len(new_streams))
    state = state_cache.get_state(incoming.command, incoming.shard)
    decision = (
        incoming.rejection
        or deduplicate(incoming, context.first_verdicts)
        or decide_command(incoming, state, context.decided_at, has_personal_data)
    )
    serialized = serialize(incoming, decision, state, format_time(context.decided_at))
    events = tuple(serialized_event.event.name for serialized_event in serialized.events)
    return DryRunResult(orjson.loads(serialized.verdict_body), None, None, events)


def build_synthetic_record(
    topic: str,
    partition: int,
    append_time: int,
    key: bytes | None,
    value: bytes | None,
    headers: list[tuple[str, bytes | None]],
) -> Record:
    """Build a record that is not on any topic; ``append_time``: milliseconds since 1970."""
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
