"""Reads the last record of each shard on output topics, to continue after it or to compare it with the progress."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import TopicPartition

from services.eventlog.feed_history import FeedHistory
from services.eventlog.record_ids import dead_letter_id
from services.kafka.relay_progress import RelayProgress
from services.kafka.topic_reader import LastRecord, read_last_records
from services.kafka.topics import full_topic_name
from services.publishing.record_headers import (
    ParsedHeaders,
    is_service_record,
    parse_headers,
    parse_original_record,
)


@dataclass(frozen=True, slots=True)
class End:
    """The end of one shard: the last record's sequence number, None without a record.

    ``never_truncated``: retention has removed no record. ``is_replay``: the last record is a replay, so that higher
    numbers may precede it; ``selection``: the replayed part of the log. ``id``: the last record's ``ce_id``, for a dead
    letter the record it came from. A dead letter that is not in the log has an id and no sequence number.
    """

    sequence: int | None = None
    never_truncated: bool = True
    is_replay: bool = False
    selection: str | None = None
    id: str | None = None


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
    """Return every mismatching shard of each output.

    Skip shards that retention emptied, and shards whose replay is to begin: they end with what was published before it.
    """
    mismatches = []
    for output, output_ends in ends.items():
        for shard in progress.shards:
            sequence, end = progress.sequences[output][shard], output_ends[shard]
            actual = 0 if end.sequence is None and end.never_truncated else end.sequence
            begins_replay = sequence == 0 and progress.is_replaying(output, shard)
            if actual is not None and actual != sequence and not begins_replay:
                mismatches.append(EndMismatch(output, shard, actual, sequence))
    return mismatches


async def read_topic_ends(
    bootstrap: str, history: FeedHistory, topics: Mapping[str, str], shards: Sequence[int]
) -> dict[str, list[End]]:
    """Read the end of each shard, by output; ``topics`` gives the full topic name of each output.

    The lists are indexed by shard; only ``shards`` are read. Records of other producers are skipped.

    Raises:
        KafkaError, OSError, asyncpg.PostgresError, TimeoutError: Kafka or PostgreSQL does not answer.
    """
    topic_partitions = [TopicPartition(name, shard) for name in topics.values() for shard in shards]
    last_by_partition = await read_last_records(
        bootstrap, topic_partitions, lambda record: is_service_record(record.headers)
    )
    ends: dict[str, list[End]] = {}
    for output, name in topics.items():
        ends[output] = [End() for _ in range(max(shards) + 1)]
        for shard in shards:
            last = last_by_partition[TopicPartition(name, shard)]
            ends[output][shard] = await _build_end(output, history, last)
    return ends


async def _build_end(output: str, history: FeedHistory, last: LastRecord) -> End:
    if last.record is None:
        return End(never_truncated=last.never_truncated)
    parsed_headers = parse_headers(last.record.headers)
    sequence = parsed_headers.sequence
    if output == "dead-letters":
        origin = parse_original_record(parsed_headers.headers)
        dead_letter = None if origin is None else (await history.find_dead_letters([origin]))[0]
        sequence = None if dead_letter is None else dead_letter[1]
    return End(
        sequence,
        last.never_truncated,
        parsed_headers.is_replay,
        parsed_headers.selection,
        get_record_id(output, parsed_headers),
    )


def get_record_id(output: str, parsed_headers: ParsedHeaders) -> str | None:
    """Return the id of a record of an output: its ``ce_id``, for a dead letter the record it came from."""
    if output != "dead-letters":
        return parsed_headers.id
    origin = parse_original_record(parsed_headers.headers)
    return None if origin is None else dead_letter_id(origin)


def full_topic_names(prefix: str, outputs: Iterable[str]) -> dict[str, str]:
    """Return the full names of the service's own topics, by output."""
    return {output: full_topic_name(prefix, output) for output in outputs}
