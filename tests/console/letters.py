"""Dead letters of an earlier topic, so that no watermark of the present one moves, and what stands on that."""

import itertools
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.commands.dry_run import build_synthetic_record
from services.commands.serialization import encode_headers
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import EventStore
from services.kafka.topics import full_topic_name
from tests.conftest import System

APPENDED_AT = 1_790_000_000_000
HEADERS: list[tuple[str, bytes | None]] = [("kept", b"\x00\xff"), ("empty", None)]
_OFFSETS = itertools.count()


async def append_dead_letters(
    system: System,
    partition: int,
    values: Sequence[bytes | None],
    reason: str = "not_json",
    message: str = "no JSON",
    topic_name: str = "earlier-commands",
) -> list[tuple[int, int]]:
    """Append dead letters of a topic's partition, in order, and return their (shard, number)."""
    earlier = full_topic_name(system.prefix, topic_name)
    connection = await connect(system.database_url, "test", WRITER)
    try:
        log = EventStore(connection)
        source = await log.current_incarnation(earlier)
        headers = encode_headers(build_synthetic_record(earlier, partition, APPENDED_AT, None, None, HEADERS))
        while True:
            context = await log.read_batch_context([partition], [])
            offsets = [next(_OFFSETS) for _ in values]
            batch = AppendBatch(source, context.decided_at, context.heads, {partition: offsets[0]})
            for offset, value in zip(offsets, values, strict=True):
                coordinates = RecordCoordinates(partition, offset, APPENDED_AT)
                batch.add_dead_letter(partition, coordinates, b"1001", value, headers, reason, message)
            # A handler may have written to the shard since the look.
            if await log.append(batch):
                return [(row[0], row[1]) for row in batch.dead_letters]
    finally:
        await connection.close()


async def read_commands_partition(system: System, partition: int) -> list[ConsumerRecord[Any, Any]]:
    """Everything on a partition of the commands topic, committed or not."""
    partition_key = TopicPartition(full_topic_name(system.prefix, "commands"), partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([partition_key])
        end, records = (await consumer.end_offsets([partition_key]))[partition_key], []
        while await consumer.position(partition_key) < end:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(batch)
        return records
    finally:
        await consumer.stop()
