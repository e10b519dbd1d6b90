"""Compares the last published records with the log: the same number must be the same record, by its id.

Numbers alone do not show that a log lost records: a handler decides the lost commands again, under the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg

from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.postgres import Pool
from services.eventlog.record_ids import ARCHIVED, read_record_ids
from services.kafka.relay_progress import RelayProgress
from services.publishing.topic_ends import End


@dataclass(frozen=True, slots=True)
class LogMismatch:
    """A record that was published and is not in the log under its number; ``head``: where the log's shard ends.

    ``sequence`` is None for a dead letter, whose number only the log knew.
    """

    output: str
    shard: int
    sequence: int | None
    record_id: str
    head: int

    def __str__(self) -> str:
        where = f"shard {self.shard} of {self.output}"
        if self.sequence is None:
            return f"{where}: the log does not have the published record {self.record_id}"
        if self.sequence > self.head:
            return f"{where}: {self.sequence} records were published, but the log ends at {self.head}"
        return f"{where}: record {self.sequence} was published as {self.record_id}, but the log has a different one"


async def find_log_mismatches(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    progress: RelayProgress,
    ends: Mapping[str, Sequence[End]] | None = None,
) -> list[LogMismatch]:
    """Return every mismatching shard of each output: the progress, and with ``ends`` the topics' last records.

    During a replay the log must also have what was published before it, up to its end: what the handler decides instead
    of a lost row would go out as a replay of that row.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer.
    """
    heads = await FeedReader(connection).heads(progress.shards)
    mismatches = []
    for output, sequences in progress.sequences.items():
        output_heads = dict(zip(progress.shards, heads[FEED_BY_TOPIC[output]], strict=True))
        published: list[tuple[int, int | None, str | None]] = [
            (shard, sequences[shard], progress.last_id(output, shard)) for shard in progress.shards
        ]
        published += [
            (shard, progress.replay_end(output, shard), progress.replay_end_id(output, shard))
            for shard in progress.shards
            if progress.is_replaying(output, shard)
        ]
        if ends is not None and output in ends:
            published += [(shard, ends[output][shard].sequence, ends[output][shard].id) for shard in progress.shards]
        shards, numbers = [shard for shard, _, _ in published], [number or 0 for _, number, _ in published]
        log_ids = await read_record_ids(connection, output, shards, numbers)
        found: set[int] = set()
        for (shard, number, record_id), log_id in zip(published, log_ids, strict=True):
            is_beyond = number is not None and number > output_heads[shard]
            differs = record_id is not None and log_id not in (record_id, ARCHIVED)
            if (is_beyond or differs) and shard not in found:
                mismatches.append(LogMismatch(output, shard, number, record_id or "unknown", output_heads[shard]))
                found.add(shard)
    return mismatches


async def add_replay_end_ids(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", progress: RelayProgress
) -> RelayProgress:
    """Return the progress with the log's ids at the ends of its replays, where it has none.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer.
    """
    replay_end_ids = {}
    for output, replay_ends in progress.replays.items():
        log_ids = await read_record_ids(connection, output, range(len(replay_ends)), replay_ends)
        replay_end_ids[output] = tuple(
            progress.replay_end_id(output, shard) or (None if log_id == ARCHIVED else log_id)
            for shard, log_id in enumerate(log_ids)
        )
    return replace(progress, replay_end_ids=replay_end_ids)
