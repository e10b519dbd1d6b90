"""Reads dead letters and their resolutions. Read-only."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import asyncpg

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import NO_HEADERS, unseal_letters
from services.eventlog.postgres import Pool

# Each column of a dead letter is stored as key id and ciphertext: SEALED_BYTES_MORE longer than its content.
COUNT_OPEN = """
select count(*), min(d.recorded_at) from dead_letter d
where not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))
"""
GROUPS = """
select d.reason, count(*), min(d.recorded_at), max(d.recorded_at), array_agg(distinct d.partition),
       (array_agg(d.message order by d.recorded_at desc))[1]
from dead_letter d
where not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))
group by d.reason order by count(*) desc, d.reason
"""
# $1 reason, $2 partition, $3 open or not, $4 action, $5-$7 time, shard and number of the last one seen, $8 limit.
DEAD_LETTERS = """
select d.shard, d.number, t.topic, d.partition, d."offset", d.append_time, d.reason, d.message, d.recorded_at,
       coalesce(octet_length(d.value) - 36, 0), null::bytea, null::bytea, null::bytea, a.id, a.kind, x.partition,
       x."offset"
from dead_letter d join source t on t.number = d.source
left join dead_letter_settled s on (s.shard, s.number) = (d.shard, d.number)
left join operator_action a on a.id = s.action
left join redriven x on (x.action, x.ordinal) = (s.action, s.ordinal)
where ($1::text is null or d.reason = $1) and ($2::integer is null or d.partition = $2)
  and ($3::boolean is null or $3 = (s.action is null)) and ($4::uuid is null or s.action = $4)
  and ($5::timestamptz is null or (d.recorded_at, d.shard, d.number) < ($5, $6::smallint, $7::bigint))
order by d.recorded_at desc, d.shard desc, d.number desc limit $8
"""
# $1 shard, $2 number.
DEAD_LETTER = """
select d.shard, d.number, t.topic, d.partition, d."offset", d.append_time, d.reason, d.message, d.recorded_at,
       coalesce(octet_length(d.value) - 36, 0), d.key, d.value, d.headers, a.id, a.kind, x.partition, x."offset"
from dead_letter d join source t on t.number = d.source
left join dead_letter_settled s on (s.shard, s.number) = (d.shard, d.number)
left join operator_action a on a.id = s.action
left join redriven x on (x.action, x.ordinal) = (s.action, s.ordinal)
where d.shard = $1 and d.number = $2
"""
TOO_LARGE_IDS_MAX = 20
# $1 the most bytes (null: any), $2-$3 shard and number, $4 reason, $5 partition, $6 until, $7 how many ids to name.
IS_READABLE = """
exists (select from encryption_key k where k.id = ('x' || encode(substring(d.headers for 8), 'hex'))::bit(64)::bigint)
"""
"""Whether the key of dead letter ``d`` exists: its content is erased with the key of its day."""
MATCHING_COUNT = (
    """
select count(*) filter (where fits), max(recorded_at), count(*) filter (where not fits),
       coalesce((array_agg(shard || '-' || number order by recorded_at, shard, number)
                 filter (where not fits))[:$7::integer], '{}')
from (select d.shard, d.number, d.recorded_at, $1::bigint is null or coalesce(octet_length(d.value) - 36, 0)
             + coalesce(octet_length(d.key) - 36, 0) + octet_length(d.headers) - 36 <= $1 as fits
      from dead_letter d
      where ($1::bigint is null or """
    + IS_READABLE
    + """) and not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))
        and ($2::smallint is null or (d.shard = $2 and d.number = $3))
        and ($4::text is null or d.reason = $4) and ($5::integer is null or d.partition = $5)
        and ($6::timestamptz is null or d.recorded_at <= $6)) d
"""
)
# $1 topic, $2 partition, $3 offset, in the topic's current incarnation.
REDRIVE_OUTCOME = """
select v.body, v.shard, v.number, null::smallint, null::bigint
from verdict v where v.source = (select max(number) from source where topic = $1) and v.partition = $2
  and v."offset" = $3
union all
select null, null, null, d.shard, d.number
from dead_letter d where d.source = (select max(number) from source where topic = $1) and d.partition = $2
  and d."offset" = $3
"""


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects open dead letters: one by ``id`` (shard, number), or those of a reason or partition ``until`` a time.

    Raises:
        ValueError: no criterion is given; all dead letters at once cannot be selected.
    """

    id: tuple[int, int] | None = None
    reason: str | None = None
    partition: int | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.id is None and self.reason is None and self.partition is None:
            raise ValueError("select dead letters by id, reason or partition")


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """How many open dead letters an action affects; ``until``: when the newest of them was recorded.

    ``too_large_count`` others are too large for it; ``too_large_ids`` are the first of them, as SHARD-NUMBER.
    """

    count: int
    until: datetime | None
    too_large_count: int
    too_large_ids: list[str]


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Open dead letters of one reason; ``message`` is the newest one's."""

    reason: str
    count: int
    first: datetime
    last: datetime
    partitions: list[int]
    message: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter. ``append_time`` is in milliseconds since 1970, ``size`` that of the value in bytes.

    ``key``, ``value`` and ``headers`` are None in lists. ``action_id`` and ``resolution`` (``redrive`` or ``discard``)
    are None while it is open; ``redriven_partition`` and ``redriven_offset`` locate the redriven record. ``is_erased``:
    the content was erased with the key of its day; set where the content is read.
    """

    shard: int
    number: int
    topic: str
    partition: int
    offset: int
    append_time: int
    reason: str
    message: str
    recorded_at: datetime
    size: int
    key: bytes | None
    value: bytes | None
    headers: bytes | None
    action_id: UUID | None
    resolution: str | None
    redriven_partition: int | None
    redriven_offset: int | None
    is_erased: bool = False


@dataclass(frozen=True, slots=True)
class RedriveOutcome:
    """The outcome of a record: its verdict's body (JSON) and id, or its dead letter's id. Ids are (shard, number)."""

    verdict_body: str | None
    verdict_id: tuple[int, int] | None
    dead_letter_id: tuple[int, int] | None


class DeadLetterReader:
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection
        self.encryption_keys = EncryptionKeys(connection)

    async def count_open(self, seconds_max: float) -> tuple[int, datetime | None]:
        """Return how many dead letters are open, and when the oldest was recorded; give up after ``seconds_max``."""
        row = await self.connection.fetchrow(COUNT_OPEN, timeout=seconds_max)
        assert row is not None
        return row[0], row[1]

    async def groups(self) -> list[DeadLetterGroup]:
        """Return the open dead letters by reason, the largest group first."""
        return [DeadLetterGroup(*row) for row in await self.connection.fetch(GROUPS)]

    async def dead_letters(
        self,
        rows_max: int,
        *,
        reason: str | None = None,
        partition: int | None = None,
        is_open: bool | None = None,
        action_id: UUID | None = None,
        before: tuple[datetime, int, int] | None = None,
    ) -> list[DeadLetter]:
        """Return dead letters without content, newest first, after ``before`` (recorded_at, shard, number)."""
        at, shard, number = before or (None, None, None)
        rows = await self.connection.fetch(
            DEAD_LETTERS, reason, partition, is_open, action_id, at, shard, number, rows_max
        )
        return [DeadLetter(*row) for row in rows]

    async def dead_letter(self, shard: int, number: int) -> DeadLetter | None:
        """Return one dead letter with its content."""
        row = await self.connection.fetchrow(DEAD_LETTER, shard, number)
        if row is None:
            return None
        letter = DeadLetter(*row)
        [(key, value, headers)] = await unseal_letters(
            self.encryption_keys, [(letter.key, letter.value, letter.headers)]
        )
        return replace(
            letter, key=key, value=value, headers=NO_HEADERS if headers is None else headers, is_erased=headers is None
        )

    async def count_matching(
        self, dead_letter_filter: DeadLetterFilter, bytes_max: int | None = None
    ) -> DeadLetterCount:
        """Count the open dead letters that the filter selects; those above ``bytes_max`` are left out."""
        dead_letter_id = dead_letter_filter.id or (None, None)
        group = (dead_letter_filter.reason, dead_letter_filter.partition, dead_letter_filter.until)
        row = await self.connection.fetchrow(MATCHING_COUNT, bytes_max, *dead_letter_id, *group, TOO_LARGE_IDS_MAX)
        assert row is not None
        return DeadLetterCount(*row)

    async def redrive_outcome(self, topic: str, partition: int, offset: int) -> RedriveOutcome | None:
        """Return the outcome of the record at an offset, None while it is not processed."""
        row = await self.connection.fetchrow(REDRIVE_OUTCOME, topic, partition, offset)
        if row is None:
            return None
        ids = (None if row[n] is None else (row[n], row[n + 1]) for n in (1, 3))
        return RedriveOutcome(row[0], *ids)
