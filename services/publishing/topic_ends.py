"""Reads the last record of each shard on output topics, to continue after it or to compare it with the progress."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import TopicPartition

from services.eventlog.feed_history import FeedHistory
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.relay_progress import PROGRESS_KEY, RelayProgress
from services.kafka.topic_reader import Record, read_last_records
from services.kafka.topics import full_topic_name
from services.publishing.record_headers import is_service_record, parse_headers, parse_original_record


@dataclass(frozen=True, slots=True)
class End:
    """The end of one shard: the last record's sequence number, None without a record.

    ``never_truncated``: retention has removed no record. ``is_replay``: the last record is a replay, so that higher
    numbers may precede it; ``selection``: the replayed part of the log.
    """

    sequence: int | None = None
    never_truncated: bool = True
    is_replay: bool = False
    selection: str | None = None


@dataclass(frozen=True, slots=True)
class EndMismatch:
    """A shard of an output that ends at another sequence number than the relay's progress."""

    output: str
    shard: int
    actual: int
    expected: int

    def __str__(self) -> str:
        why = "records were lost, or it was recreated" if self.actual < self.expected else "progress was lost"
        return (
            f"shard {self.shard} of {self.output} ends at {self.actual}, but the relay published up to"
            f" {self.expected}: {why}"
        )


def find_mismatches(progress: RelayProgress, ends: Mapping[str, Sequence[End]]) -> list[EndMismatch]:
    """Return the first mismatching shard of each output.

    Skip outputs without progress, shards that are being refilled, and shards that retention emptied.
    """
    mismatches = []
    for output in (output for output in ends if output in progress.sequences):
        for shard, (sequence, end) in enumerate(zip(progress.sequences[output], ends[output], strict=True)):
            actual = 0 if end.sequence is None and end.never_truncated else end.sequence
            if actual is not None and actual != sequence and not progress.is_replaying(output, shard):
                mismatches.append(EndMismatch(output, shard, actual, sequence))
                break
    return mismatches


async def read_topic_ends(bootstrap: str, history: FeedHistory, topics: Mapping[str, str]) -> dict[str, list[End]]:
    """Read the end of each shard, by output; ``topics`` gives the full topic name of each output.

    Records of other producers are skipped; a dead letter that is not in the log has no sequence number.

    Raises:
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    topic_partitions = [TopicPartition(name, shard) for name in topics.values() for shard in ALL_SHARDS]
    last_by_partition = await read_last_records(
        bootstrap, topic_partitions, lambda record: is_service_record(record.headers)
    )
    ends: dict[str, list[End]] = {}
    for output, name in topics.items():
        topic_lasts = [last_by_partition[TopicPartition(name, shard)] for shard in ALL_SHARDS]
        sequences = [
            None if last.record is None else await _find_sequence(output, history, last.record) for last in topic_lasts
        ]
        parsed_headers = [parse_headers(() if last.record is None else last.record.headers) for last in topic_lasts]
        ends[output] = [
            End(sequence, last.never_truncated, headers.is_replay, headers.selection)
            for sequence, last, headers in zip(sequences, topic_lasts, parsed_headers, strict=True)
        ]
    return ends


async def read_progress(bootstrap: str, full_name: str) -> tuple[RelayProgress, datetime] | None:
    """Read the relay's progress and when it was written; None if its topic holds no record.

    Raises:
        KafkaError: Kafka does not answer.
    """
    topic_partition = TopicPartition(full_name, 0)
    last = await read_last_records(
        bootstrap, [topic_partition], lambda record: record.key == PROGRESS_KEY and record.value is not None
    )
    record = last[topic_partition].record
    if record is None or record.value is None:
        return None
    return RelayProgress.decode(record.value), datetime.fromtimestamp(record.timestamp / 1000, UTC)


async def _find_sequence(output: str, history: FeedHistory, record: Record) -> int | None:
    parsed_headers = parse_headers(record.headers)
    if output != "dead-letters":
        return parsed_headers.sequence
    origin = parse_original_record(parsed_headers.headers)
    dead_letter = None if origin is None else (await history.find_dead_letters([origin]))[0]
    return None if dead_letter is None else dead_letter[1]


def full_topic_names(prefix: str, outputs: Iterable[str]) -> dict[str, str]:
    """Return the full names of the service's own topics, by output."""
    return {output: full_topic_name(prefix, output) for output in outputs}
