"""Step 1 of 6: parse a record into the value that the later steps take."""

from typing import Any, NamedTuple

from aiokafka import ConsumerRecord

from services.commands.global_ids import localize_ids
from services.commands.parse import InvalidCommand, ParsedCommand, UnreadableRecord, parse
from services.kafka.partitioning import SHARD_COUNT, get_course_shard
from services.moderation.commands import Command
from services.moderation.decisions import Rejected

Record = ConsumerRecord[Any, Any]
CommandKey = tuple[str, int]
"""Command id and root account: what a command is deduplicated by."""
UNKNOWN_ROOT_ACCOUNT = 0
ReadableCommand = Command | InvalidCommand
"""Both have ``command_id``, ``type``, ``actor_id`` and the ids of root account, course and assignment."""


class IncomingCommand(NamedTuple):
    """A record whose command id is readable: it gets a verdict.

    ``shard``: the course's, else the partition's. ``rejection`` and ``may_carry_request`` are the authorizer's: why the
    sender is refused, and whether the record's ``http_request`` header counts.
    """

    record: Record
    command: ReadableCommand
    command_key: CommandKey
    content_hash: bytes
    correlation_id: str | None
    shard: int
    rejection: Rejected | None = None
    may_carry_request: bool = True


class IncomingDeadLetter(NamedTuple):
    """A record without a readable command id: it gets no verdict, and its shard is its partition's."""

    record: Record
    shard: int
    reason: str
    message: str


IncomingRecord = IncomingCommand | IncomingDeadLetter


def parse_record(record: Record, live_events_shard: int | None = None) -> IncomingRecord:
    """Parse a record; never raises. ``live_events_shard``: the Canvas shard whose global ids stand for local ones."""
    parse_result = parse(localize_ids(record.value, live_events_shard))
    if isinstance(parse_result, ParsedCommand):
        command, content_hash, correlation_id = parse_result
        command_key = (command.command_id, command.root_account_id)
        shard = get_course_shard(command.course_id)
        return IncomingCommand(record, command, command_key, content_hash, correlation_id, shard)
    partition_shard = record.partition % SHARD_COUNT
    if isinstance(parse_result, UnreadableRecord):
        return IncomingDeadLetter(record, partition_shard, parse_result.reason, parse_result.message)
    course_id = parse_result.course_id
    return IncomingCommand(
        record,
        parse_result,
        (parse_result.command_id, parse_result.root_account_id or UNKNOWN_ROOT_ACCOUNT),
        parse_result.content_hash,
        parse_result.correlation_id,
        partition_shard if course_id is None else get_course_shard(course_id),
    )
