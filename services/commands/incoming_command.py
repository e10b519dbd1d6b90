"""Step 1 of 6: parse a record into the value that the later steps work on."""

from typing import Any

from aiokafka import ConsumerRecord

from services.commands.global_ids import localize_ids
from services.commands.parse import InvalidCommand, ParsedCommand, UnreadableRecord, parse
from services.kafka.partitioning import get_course_shard
from services.moderation.commands import Command
from services.moderation.decisions import Rejected
from services.moderation.value_object import value_object

Record = ConsumerRecord[Any, Any]
CommandKey = tuple[str, int]
"""Command id and root account, which identify a command for deduplication."""
UNKNOWN_ROOT_ACCOUNT = 0
ReadableCommand = Command | InvalidCommand
"""Both have ``command_id``, ``type``, ``actor_id`` and the ids of root account, course and assignment."""


@value_object()
class IncomingCommand:
    """A record whose command id is readable: it gets a verdict.

    ``shard``: the course's, else the partition's. The authorizer sets ``rejection``, why the sender is refused, and
    ``may_carry_request``, whether the record's ``http_request`` header is used.
    """

    record: Record
    command: ReadableCommand
    command_key: CommandKey
    content_hash: bytes
    correlation_id: str | None
    shard: int
    rejection: Rejected | None = None
    may_carry_request: bool = True

    def with_authorization(self, rejection: Rejected | None, may_carry_request: bool) -> "IncomingCommand":
        """Return a copy with the authorizer's result."""
        return IncomingCommand(
            self.record,
            self.command,
            self.command_key,
            self.content_hash,
            self.correlation_id,
            self.shard,
            rejection,
            may_carry_request,
        )

    @property
    def has_other_key(self) -> bool:
        """Return whether the record's key is not its course, so that Kafka does not keep the order of the course."""
        course_id = self.command.course_id
        return course_id is not None and self.record.key != b"%d" % course_id


@value_object()
class IncomingDeadLetter:
    """A record without a readable command id: it gets no verdict, and its shard is its partition's."""

    record: Record
    shard: int
    reason: str
    message: str


IncomingRecord = IncomingCommand | IncomingDeadLetter


def parse_record(record: Record, shard_count: int, live_events_shard: int | None = None) -> IncomingRecord:
    """Parse a record; never raises.

    ``shard_count``: of the installation; ``live_events_shard``: the Canvas shard whose global ids become local ones.
    """
    parse_result = parse(localize_ids(record.value, live_events_shard))
    if isinstance(parse_result, ParsedCommand):
        command = parse_result.command
        return IncomingCommand(
            record,
            command,
            (command.command_id, command.root_account_id),
            parse_result.content_hash,
            parse_result.correlation_id,
            get_course_shard(command.course_id, shard_count),
        )
    partition_shard = record.partition % shard_count
    if isinstance(parse_result, UnreadableRecord):
        return IncomingDeadLetter(record, partition_shard, parse_result.reason, parse_result.message)
    course_id = parse_result.course_id
    return IncomingCommand(
        record,
        parse_result,
        (parse_result.command_id, parse_result.root_account_id or UNKNOWN_ROOT_ACCOUNT),
        parse_result.content_hash,
        parse_result.correlation_id,
        partition_shard if course_id is None else get_course_shard(course_id, shard_count),
    )
