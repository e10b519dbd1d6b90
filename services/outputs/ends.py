"""Where topics end: the number of the last record of each shard, as whoever goes on filling them must know it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import TopicPartition

from services.eventlog.history import History
from services.eventlog.shards import SHARDS
from services.outputs.marks import is_ours, marks_of, place_of
from services.outputs.reading import Record, last_records
from services.topics import topic


@dataclass(frozen=True, slots=True)
class End:
    """``number`` of the last record, None without one; ``new``: the partition never lost a record to retention.

    ``replay``: the record was emitted again, so that higher numbers may stand before it; ``selection``: see marks.
    """

    number: int | None = None
    new: bool = True
    replay: bool = False
    selection: str | None = None


async def ends_of(bootstrap: str, history: History, topics: Mapping[str, str]) -> dict[str, list[End]]:
    """By output, the end of each shard on the topic of that full name.

    Records of others are passed over; a dead letter that the log does not have has no number.

    Raises:
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    places = [TopicPartition(name, shard) for name in topics.values() for shard in range(SHARDS)]
    found = await last_records(bootstrap, places, lambda record: is_ours(record.headers))
    ends: dict[str, list[End]] = {}
    for output, name in topics.items():
        of_topic = [found[TopicPartition(name, shard)] for shard in range(SHARDS)]
        numbers = [None if last.record is None else await _number(output, history, last.record) for last in of_topic]
        marks = [marks_of(() if last.record is None else last.record.headers) for last in of_topic]
        ends[output] = [
            End(number, last.new, mark.replay, mark.selection)
            for number, last, mark in zip(numbers, of_topic, marks, strict=True)
        ]
    return ends


async def _number(output: str, history: History, record: Record) -> int | None:
    marks = marks_of(record.headers)
    if output != "dead-letters":
        return marks.number
    origin = place_of(marks.headers)
    found = None if origin is None else (await history.dead_letters_from([origin]))[0]
    return None if found is None else found[1]


def full_names(prefix: str, outputs: Iterable[str]) -> dict[str, str]:
    """The service's own topics of these outputs."""
    return {output: topic(prefix, output) for output in outputs}
