"""Where topics end: the number of the last record of each shard, as whoever goes on filling them must know it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import TopicPartition

from services.eventlog.feed_history import History
from services.kafka.partitioning import SHARDS
from services.kafka.relay_progress import KEY, Progress
from services.kafka.topic_reader import Record, last_records
from services.kafka.topics import topic
from services.publishing.record_headers import is_ours, marks_of, place_of


@dataclass(frozen=True, slots=True)
class End:
    """``number`` of the last record, None without one; ``new``: the partition never lost a record to retention.

    ``replay``: the record was emitted again, so that higher numbers may stand before it; ``selection``: see marks.
    """

    number: int | None = None
    new: bool = True
    replay: bool = False
    selection: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A shard of an output that does not end where the relay left it: with the number ``at``, not with ``relayed``."""

    output: str
    shard: int
    at: int
    relayed: int

    def __str__(self) -> str:
        why = "records were lost, or it was made again" if self.at < self.relayed else "progress was lost"
        return (
            f"shard {self.shard} of {self.output} ends at {self.at}, and {self.relayed} is the last that was relayed:"
            f" {why}"
        )


def differences(progress: Progress, ends: Mapping[str, Sequence[End]]) -> list[Difference]:
    """The first shard of each output that differs; where retention removed all, nobody knows.

    Outputs that the progress does not name are not looked at, nor those that are being filled again.
    """
    found = []
    for output in (output for output in ends if output in progress.sequences):
        for shard, (number, end) in enumerate(zip(progress.sequences[output], ends[output], strict=True)):
            at = 0 if end.number is None and end.new else end.number
            if at is not None and at != number and not progress.replaying(output, shard):
                found.append(Difference(output, shard, at, number))
                break
    return found


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


async def progress_on(bootstrap: str, full_name: str) -> tuple[Progress, datetime] | None:
    """How far the relay has come, as its topic says it, and when it last said so; None where it holds no record.

    Raises:
        KafkaError: Kafka does not answer.
    """
    place = TopicPartition(full_name, 0)
    last = await last_records(bootstrap, [place], lambda record: record.key == KEY and record.value is not None)
    record = last[place].record
    if record is None or record.value is None:
        return None
    return Progress.decode(record.value), datetime.fromtimestamp(record.timestamp / 1000, UTC)


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
