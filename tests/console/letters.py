"""Dead letters of an earlier topic, so that no watermark of the present one moves, and what stands on that."""

import itertools
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.commands.dry_run import record_of
from services.commands.serialization import headers_json
from services.eventlog.append_batch import Batch, Place
from services.eventlog.postgres import WRITER, connect
from services.eventlog.store import Log
from services.kafka.topics import topic
from tests.conftest import System

APPENDED_AT = 1_790_000_000_000
HEADERS: list[tuple[str, bytes | None]] = [("kept", b"\x00\xff"), ("empty", None)]
_OFFSETS = itertools.count()


async def dead(
    system: System,
    partition: int,
    values: Sequence[bytes | None],
    reason: str = "not_json",
    message: str = "no JSON",
    of: str = "earlier-commands",
) -> list[tuple[int, int]]:
    """Append dead letters of a topic's partition, in order, and return their (shard, number)."""
    earlier = topic(system.prefix, of)
    connection = await connect(system.database_url, "test", WRITER)
    try:
        log = Log(connection)
        source = await log.current_source(earlier)
        headers = headers_json(record_of(earlier, partition, APPENDED_AT, None, None, HEADERS))
        while True:
            found = await log.look_up([partition], [])
            offsets = [next(_OFFSETS) for _ in values]
            batch = Batch(source, found.at, found.heads, {partition: offsets[0]})
            for offset, value in zip(offsets, values, strict=True):
                place = Place(partition, offset, APPENDED_AT)
                batch.add_dead_letter(partition, place, b"1001", value, headers, reason, message)
            # A handler may have written to the shard since the look.
            if await log.append(batch):
                return [(row[0], row[1]) for row in batch.dead_letters]
    finally:
        await connection.close()


async def on_topic(system: System, partition: int) -> list[ConsumerRecord[Any, Any]]:
    """Everything on a partition of the commands topic, committed or not."""
    place = TopicPartition(topic(system.prefix, "commands"), partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=system.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([place])
        end, records = (await consumer.end_offsets([place]))[place], []
        while await consumer.position(place) < end:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records.extend(batch)
        return records
    finally:
        await consumer.stop()
