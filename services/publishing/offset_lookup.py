"""Where on an output topic the record with a number is: by the time it was written, for offsets are not numbers."""

from collections.abc import Mapping
from datetime import datetime

from aiokafka import TopicPartition

from services.kafka.topic_reader import read_until, reader
from services.publishing.record_headers import marks_of

RECORDS_MAX = 20_000
# Records are stamped by the relay's clock, the log's rows by PostgreSQL's.
CLOCKS_DIFFER_SECONDS = 5.0


async def offsets_of(
    bootstrap: str, wanted: Mapping[tuple[str, int], int], since: datetime
) -> dict[tuple[str, int], int | None]:
    """The offsets of the first records with the wanted numbers, by (full topic, partition), written since a time.

    None where a record is not there: not yet, not any more, or too far behind what else was written since.
    Raises KafkaError, TimeoutError.
    """
    places = {TopicPartition(*place): number for place, number in wanted.items()}
    found: dict[tuple[str, int], int | None] = dict.fromkeys(wanted)
    if not places:
        return found
    after = int((since.timestamp() - CLOCKS_DIFFER_SECONDS) * 1_000)
    async with reader(bootstrap, list(places)) as consumer:
        starts = await consumer.offsets_for_times(dict.fromkeys(places, after))
        ends = await consumer.end_offsets(list(places))
        for place, number in places.items():
            start = starts.get(place)
            if start is None:
                continue
            consumer.seek(place, start.offset)
            until = min(ends[place], start.offset + RECORDS_MAX)
            async for _, records in read_until(consumer, {place: until}):
                hit = next((record.offset for record in records if marks_of(record.headers).number == number), None)
                if hit is not None:
                    found[place.topic, place.partition] = hit
                    break
    return found
