"""Finds the offsets of records on output topics by sequence number, starting at the time they were written."""

from collections.abc import Mapping
from datetime import datetime

from aiokafka import TopicPartition

from services.kafka.topic_reader import open_reader, read_until
from services.publishing.record_headers import parse_headers

RECORDS_MAX = 20_000
# Records have the time of the relay's clock, rows of the log that of PostgreSQL's.
CLOCK_SKEW_SECONDS_MAX = 5.0


async def find_offsets(
    bootstrap: str, wanted_sequences: Mapping[tuple[str, int], int], since: datetime
) -> dict[tuple[str, int], int | None]:
    """Find, by (full topic, partition), the offset of the first record with the wanted sequence number since a time.

    None if it is not published yet, was removed by retention, or is beyond RECORDS_MAX records after that time.

    Raises:
        KafkaError, TimeoutError: Kafka does not answer.
    """
    sequence_by_partition = {
        TopicPartition(*topic_partition): sequence for topic_partition, sequence in wanted_sequences.items()
    }
    offsets: dict[tuple[str, int], int | None] = dict.fromkeys(wanted_sequences)
    if not sequence_by_partition:
        return offsets
    after_ms = int((since.timestamp() - CLOCK_SKEW_SECONDS_MAX) * 1_000)
    async with open_reader(bootstrap, list(sequence_by_partition)) as consumer:
        start_offsets = await consumer.offsets_for_times(dict.fromkeys(sequence_by_partition, after_ms))
        end_offsets = await consumer.end_offsets(list(sequence_by_partition))
        for topic_partition, sequence in sequence_by_partition.items():
            start_offset = start_offsets.get(topic_partition)
            if start_offset is None:
                continue
            consumer.seek(topic_partition, start_offset.offset)
            end_offset = min(end_offsets[topic_partition], start_offset.offset + RECORDS_MAX)
            async for _, records in read_until(consumer, {topic_partition: end_offset}):
                offset = next(
                    (record.offset for record in records if parse_headers(record.headers).sequence == sequence), None
                )
                if offset is not None:
                    offsets[topic_partition.topic, topic_partition.partition] = offset
                    break
    return offsets
