"""Queries for the pipeline's progress: new verdicts, watermarks, and the topics' lag. Read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.feeds import FEED_BY_TOPIC, FeedReader
from services.eventlog.installation import read_installation
from services.eventlog.postgres import Pool
from services.eventlog.relay_lag import read_next_recorded_at
from services.kafka.relay_progress import RelayProgress

# $1 shards, $2 numbers after which (a shard without one: from the start), $3 limit for each shard.
VERDICTS_AFTER = """
select v.shard, v.number, v.root_account, v.command_id, v.body->>'type', v.body->>'reason', v.body->>'course_id',
       v.body->>'assignment_id', v.recorded_at, v.append_time, not v.first and v.body->>'reason' is null
from shard s left join unnest($1::smallint[], $2::bigint[]) k(shard, after) on k.shard = s.shard
cross join lateral (select * from verdict v where v.shard = s.shard and v.number > coalesce(k.after, 0)
                    order by v.number limit $3) v
"""
# $1 topic, $2 partitions.
WATERMARKS = """
select p, watermark(s.number, p) from unnest($2::integer[]) p
cross join (select number from source where topic = $1 order by number desc limit 1) s
"""
# $1 shards, $2 live numbers, $3 limit: grades that are not on the topic yet, by command, and how many it published.
UNFINISHED_PUBLICATIONS = """
select s.root_account, s.course, s.assignment, w.command_id, w.waiting, t.total, w.since
from (select e.stream, e.metadata->>'command_id' as command_id, count(*) as waiting, min(e.recorded_at) as since,
             max(e.version) as version
      from unnest($1::smallint[], $2::bigint[]) k(shard, number)
      join event e on e.shard = k.shard and e.live_number > k.number
      group by 1, 2) w
join stream s on s.number = w.stream
cross join lateral (select count(*) as total from event e
                    where e.stream = w.stream and e.version between w.version - 20000 and w.version
                      and e.recorded_at = w.since and e.live_number is not null
                      and e.metadata->>'command_id' = w.command_id) t
order by w.since, s.assignment limit $3
"""


@dataclass(frozen=True, slots=True)
class VerdictSummary:
    """A verdict. ``type``, ``course``, ``assignment``: None if unreadable or archived.

    ``reason``: None if it was accepted, or is archived. ``append_time``: of its record, milliseconds since 1970.
    ``repeated``: it is the first verdict again.
    """

    shard: int
    number: int
    root_account: int
    command_id: str
    type: str | None
    reason: str | None
    course: str | None
    assignment: str | None
    at: datetime
    append_time: int
    is_duplicate: bool

    @property
    def latency_seconds(self) -> float:
        """Seconds from the record's append to the decision."""
        return max(self.at.timestamp() - self.append_time / 1_000, 0)


@dataclass(frozen=True, slots=True)
class TopicLag:
    """How many records a topic lacks, and since when the oldest of them waits (None: none is missing).

    ``ahead``: records on the topic that the log lacks, because it was restored to an earlier time.
    """

    topic: str
    waiting: int
    since: datetime | None
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class PublicationProgress:
    """Grades published by one command: ``waiting`` of ``total`` are not on the topic yet."""

    root_account: int
    course: int
    assignment: int
    command_id: str
    waiting: int
    total: int
    since: datetime


class PipelineQueries:
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection

    async def verdicts_after(self, sequences: Mapping[int, int], rows_max: int) -> list[VerdictSummary]:
        """Return the verdicts after a number of each shard, in order, at most ``rows_max`` of each shard.

        Shards that ``sequences`` does not name are read from their start.
        """
        rows = await self.connection.fetch(VERDICTS_AFTER, list(sequences), list(sequences.values()), rows_max)
        return [VerdictSummary(row[0], row[1], row[2], str(row[3]), *row[4:]) for row in rows]

    async def watermarks(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Return the highest processed offset by partition (-1: none)."""
        rows = await self.connection.fetch(WATERMARKS, topic, list(partitions))
        return {**dict.fromkeys(partitions, -1), **{row[0]: row[1] for row in rows}}

    async def topic_lags(self, progress: RelayProgress) -> list[TopicLag]:
        """Compute what each topic lacks at this progress of the relay."""
        shards = (await read_installation(self.connection)).shards
        heads = await FeedReader(self.connection).heads(shards)
        lags = []
        for topic, sequences in progress.sequences.items():
            feed = FEED_BY_TOPIC[topic]
            next_rows = await read_next_recorded_at(self.connection, feed, shards, sequences)
            times = [recorded_at for recorded_at, _ in next_rows]
            # Where no row waits, those up to the head are archived verdicts, which are never published.
            missing = [
                0 if recorded_at is None and head > sequence else head - sequence
                for head, sequence, recorded_at in zip(heads[feed], sequences, times, strict=True)
            ]
            since = min((recorded_at for recorded_at in times if recorded_at is not None), default=None)
            lags.append(TopicLag(topic, sum(max(n, 0) for n in missing), since, sum(max(-n, 0) for n in missing)))
        return lags

    async def unfinished_publications(self, progress: RelayProgress, rows_max: int) -> list[PublicationProgress]:
        """Return publications with grades that are not on the topic yet, the oldest first."""
        if "live-events" not in progress.sequences:
            return []  # The first format of the record does not have it; the next record does.
        sequences = progress.sequences["live-events"]
        rows = await self.connection.fetch(UNFINISHED_PUBLICATIONS, range(len(sequences)), sequences, rows_max)
        return [PublicationProgress(*row) for row in rows]

    async def database_time(self) -> datetime:
        """Return the time of PostgreSQL's clock."""
        now: datetime = await self.connection.fetchval("select clock_timestamp()")
        return now
