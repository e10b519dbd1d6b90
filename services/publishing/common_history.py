"""Finds the history that a topic and the log still share after the log lost published records."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from services.eventlog.feed_history import FeedHistory
from services.eventlog.record_ids import ARCHIVED, read_record_ids
from services.kafka.topic_reader import Record, open_reader, read_until
from services.publishing.log_comparison import find_dead_letter_sequences
from services.publishing.record_headers import parse_headers
from services.publishing.topic_ends import get_record_id


@dataclass(frozen=True, slots=True)
class LostRecord:
    """A record on a topic that is not in the log under its number; ``command_id``: its cause, from its headers.

    Dead letters have no number: ``sequence`` is their number in the log, None if the log does not have them.
    """

    output: str
    shard: int
    offset: int
    sequence: int | None
    record_id: str
    command_id: str | None

    def __str__(self) -> str:
        number = "" if self.sequence is None else f" number {self.sequence}"
        command = "" if self.command_id is None else f" command {self.command_id}"
        return f"{self.output} shard {self.shard} offset {self.offset}{number} id {self.record_id}{command}"


@dataclass(slots=True)
class CommonHistory:
    """One shard of a topic, compared with the log.

    ``first``: the lowest sequence number that topic and log share (0: none). ``last``: the highest one before the first
    lost record. ``lost``: the records that are not in the log.
    """

    first: int = 0
    last: int = 0
    lost: list[LostRecord] = field(default_factory=list)


async def read_common_history(
    bootstrap: str, history: FeedHistory, output: str, full_name: str, shards: Sequence[int]
) -> dict[int, CommonHistory]:
    """Read a topic (full name) to its end and compare each record's id with the log's at that number, by shard.

    Raises:
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    found = {shard: CommonHistory() for shard in shards}
    partitions = [TopicPartition(full_name, shard) for shard in shards]
    async with open_reader(bootstrap, partitions) as consumer:
        async for topic_partition, records in read_until(consumer, await consumer.end_offsets(partitions)):
            await _add_records(history, output, found[topic_partition.partition], records)
    for common in found.values():
        numbers = [lost.sequence for lost in common.lost if lost.sequence is not None]
        if numbers:
            common.last = min(numbers) - 1
    return found


async def _add_records(history: FeedHistory, output: str, common: CommonHistory, records: Sequence[Record]) -> None:
    headers = [parse_headers(record.headers) for record in records]
    if output == "dead-letters":
        sequences = await find_dead_letter_sequences(history, records)
    else:
        sequences = [parsed.sequence for parsed in headers]
    log_ids = await read_record_ids(
        history.connection, output, [record.partition for record in records], [number or 0 for number in sequences]
    )
    for record, parsed, sequence, log_id in zip(records, headers, sequences, log_ids, strict=True):
        record_id = get_record_id(output, parsed)
        if record_id is None or (sequence is None and output != "dead-letters"):
            continue  # The record is from another producer.
        is_disordered = not parsed.is_replay and sequence is not None and sequence <= common.last
        if log_id in (record_id, ARCHIVED) and sequence is not None and not is_disordered:
            common.first = min(common.first or sequence, sequence)
            common.last = max(common.last, sequence)
        else:
            cause = dict(parsed.headers).get("ce_causationid")
            command_id = None if cause is None else cause.decode(errors="replace")
            common.lost.append(LostRecord(output, record.partition, record.offset, sequence, record_id, command_id))
