"""Records operators' actions, the dead letters that they close, and the progress of redrives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from services.eventlog.dead_letters import IS_READABLE, DeadLetterFilter
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import NO_HEADERS, unseal_letters
from services.eventlog.postgres import Pool

INSERT_ACTION = """
insert into operator_action (id, kind, root_account, user_id, reason, detail) values ($1, $2, $3, $4, $5, $6)
"""
# $1 action, $2-$3 shard and number, $4 reason, $5 partition, $6 until, $7 the most bytes. A dead letter that another
# action closes concurrently belongs to that action.
CLOSE_DEAD_LETTERS = (
    """
insert into dead_letter_settled (shard, number, action, ordinal)
select d.shard, d.number, $1, row_number() over (order by d.source, d.partition, d."offset") - 1
from dead_letter d
where not exists (select from dead_letter_settled s where (s.shard, s.number) = (d.shard, d.number))
  and ($2::smallint is null or (d.shard = $2 and d.number = $3))
  and ($4::text is null or d.reason = $4) and ($5::integer is null or d.partition = $5)
  and ($6::timestamptz is null or d.recorded_at <= $6)
  and ($7::bigint is null
       or (coalesce(octet_length(d.value) - 36, 0) + coalesce(octet_length(d.key) - 36, 0)
           + octet_length(d.headers) - 36 <= $7 and """
    + IS_READABLE
    + """))
on conflict do nothing
"""
)
INSERT_REDRIVE = """
insert into redrive (action, topic, producer_id, producer_epoch, partitions, ends) values ($1, $2, $3, $4, $5, $6)
"""
# $1 id (null: all), $2-$3 time and id to continue after, $4 limit, $5 kind, $6 since, $7 the root account whose persons
# are seen (null: all). Dead letters belong to no account.
ACTIONS = """
select a.id, a.kind, a.root_account, a.user_id, a.reason, a.detail, a.acted_at,
       (select count(*) from dead_letter_settled s where s.action = a.id),
       (select count(*) from redriven r where r.action = a.id)
from operator_action a
where ($1::uuid is null or a.id = $1) and ($2::timestamptz is null or (a.acted_at, a.id) < ($2, $3::uuid))
  and ($5::text is null or a.kind = $5) and ($6::timestamptz is null or a.acted_at >= $6)
  and ($7::bigint is null or a.kind not in ('erase', 'export')
       or a.root_account = $7 and coalesce(a.detail ->> 'root_account_id' = $7::text, true))
order by a.acted_at desc, a.id desc limit $4
"""
# $1 ids of finished actions.
REDRIVES = """
select r.action, r.topic, r.producer_id, r.producer_epoch, r.partitions, r.ends,
       exists (select from dead_letter_settled s where s.action = r.action
               and not exists (select from redriven x where (x.action, x.ordinal) = (s.action, s.ordinal)))
from redrive r join operator_action a on a.id = r.action
where r.action <> all($1::uuid[])
order by a.acted_at
"""
# $1 action, $2 limit.
PENDING_DEAD_LETTERS = """
select s.ordinal, d.shard, d.number, d.partition, d.key, d.value, d.headers
from dead_letter_settled s join dead_letter d using (shard, number)
where s.action = $1 and not exists (select from redriven x where (x.action, x.ordinal) = (s.action, s.ordinal))
order by s.ordinal limit $2
"""
# $1 action.
SENT_COUNTS = """
select d.partition, count(*) from redriven x
join dead_letter_settled s on (s.action, s.ordinal) = (x.action, x.ordinal) join dead_letter d using (shard, number)
where x.action = $1 group by d.partition
"""
# $1 action, $2-$3 shard and number of the dead letters, $4-$5 partition and offset of their records.
INSERT_REDRIVEN = """
insert into redriven (action, ordinal, partition, "offset")
select $1, s.ordinal, k.partition, k."offset"
from unnest($2::smallint[], $3::bigint[], $4::integer[], $5::bigint[]) k(shard, number, partition, "offset")
join dead_letter_settled s on s.action = $1 and (s.shard, s.number) = (k.shard, k.number)
on conflict do nothing
"""
TRY_LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"
UNLOCK = "select pg_advisory_unlock(hashtextextended($1, 0))"


class ActionAlreadyRecorded(Exception):
    """The action with this id is already recorded: the form was submitted twice."""


class NoOpenDeadLetters(Exception):
    """No selected dead letter is open: each has been redriven or discarded, or is too large to redrive."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action; ``detail`` is JSON. ``redriven_count`` of the ``closed_count`` dead letters are on the topic."""

    id: UUID
    kind: str
    root_account: int
    user_id: int
    reason: str
    detail: str
    acted_at: datetime | None = None
    closed_count: int = 0
    redriven_count: int = 0


@dataclass(frozen=True, slots=True)
class Redrive:
    """The producer identity that a redrive uses, and where each partition ended before it began."""

    action_id: UUID
    topic: str
    producer_id: int
    producer_epoch: int
    end_offsets: dict[int, int]


@dataclass(frozen=True, slots=True)
class PendingDeadLetter:
    """A dead letter to send; ``partition`` is the one it came from."""

    ordinal: int
    shard: int
    number: int
    partition: int
    key: bytes | None
    value: bytes | None
    headers: bytes


class OperatorActions:
    """Writes over one connection with the role OPERATOR. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def record_action(
        self,
        action: Action,
        dead_letter_filter: DeadLetterFilter | None,
        redrive: Redrive | None,
        bytes_max: int | None = None,
    ) -> int:
        """Record an action, close the selected dead letters in the same transaction, and return their number.

        Without ``dead_letter_filter`` it closes none. Dead letters above ``bytes_max`` stay open.

        Raises:
            ActionAlreadyRecorded, NoOpenDeadLetters: nothing was written.
        """
        try:
            async with self.connection.transaction():
                await self.connection.execute(
                    INSERT_ACTION,
                    action.id,
                    action.kind,
                    action.root_account,
                    action.user_id,
                    action.reason,
                    action.detail,
                )
                if dead_letter_filter is None:
                    return 0
                closed_count = await self._close_dead_letters(action.id, dead_letter_filter, bytes_max)
                if redrive is not None:
                    await self._insert_redrive(redrive)
                return closed_count
        except asyncpg.UniqueViolationError:
            raise ActionAlreadyRecorded from None

    async def _close_dead_letters(
        self, action_id: UUID, dead_letter_filter: DeadLetterFilter, bytes_max: int | None
    ) -> int:
        shard, number = dead_letter_filter.id or (None, None)
        status = await self.connection.execute(
            CLOSE_DEAD_LETTERS,
            action_id,
            shard,
            number,
            dead_letter_filter.reason,
            dead_letter_filter.partition,
            dead_letter_filter.until,
            bytes_max,
        )
        closed_count = int(status.split()[-1])
        if closed_count == 0:
            raise NoOpenDeadLetters
        return closed_count

    async def _insert_redrive(self, redrive: Redrive) -> None:
        await self.connection.execute(
            INSERT_REDRIVE,
            redrive.action_id,
            redrive.topic,
            redrive.producer_id,
            redrive.producer_epoch,
            list(redrive.end_offsets),
            list(redrive.end_offsets.values()),
        )

    async def try_lock(self, name: str) -> bool:
        """Take a session-level lock, which ends with the connection. False if it is held."""
        return bool(await self.connection.fetchval(TRY_LOCK, name))

    async def unlock(self, name: str) -> None:
        """Release a lock."""
        await self.connection.execute(UNLOCK, name)

    async def unfinished_redrives(self, finished_ids: set[UUID]) -> list[Redrive]:
        """Return redrives with records that may not be on the topic yet, oldest first.

        Skips ``finished_ids``, and adds to them those that turn out to be finished.
        """
        rows = await self.connection.fetch(REDRIVES, list(finished_ids))
        finished_ids.update(row[0] for row in rows if not row[6])
        return [
            Redrive(row[0], row[1], row[2], row[3], dict(zip(row[4], row[5], strict=True))) for row in rows if row[6]
        ]

    async def pending_dead_letters(self, action_id: UUID, rows_max: int) -> list[PendingDeadLetter]:
        """Return the next dead letters to send, in order."""
        rows = await self.connection.fetch(PENDING_DEAD_LETTERS, action_id, rows_max)
        contents = await unseal_letters(EncryptionKeys(self.connection), [(row[4], row[5], row[6]) for row in rows])
        return [
            PendingDeadLetter(row[0], row[1], row[2], row[3], key, value, NO_HEADERS if headers is None else headers)
            for row, (key, value, headers) in zip(rows, contents, strict=True)
        ]

    async def sent_counts(self, action_id: UUID) -> dict[int, int]:
        """Return how many are on the topic, by the partition they came from."""
        return {row[0]: row[1] for row in await self.connection.fetch(SENT_COUNTS, action_id)}

    async def record_redriven(self, action_id: UUID, offsets: Sequence[tuple[int, int, int, int]]) -> None:
        """Record sent dead letters: (shard, number) of each, and (partition, offset) of its record."""
        columns = list(zip(*offsets, strict=True)) or [(), (), (), ()]
        await self.connection.execute(INSERT_REDRIVEN, action_id, *(list(column) for column in columns))


async def list_actions(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    before: tuple[datetime, UUID] | None,
    rows_max: int,
    *,
    kind: str | None = None,
    since: datetime | None = None,
    visible_account: int | None = None,
) -> list[Action]:
    """Return actions, newest first: those before ``before`` (time, id) and not earlier than ``since``.

    ``visible_account``: actions on persons of other root accounts are left out.
    """
    at, action_id = before or (None, None)
    rows = await connection.fetch(ACTIONS, None, at, action_id, rows_max, kind, since, visible_account)
    return [Action(*row) for row in rows]


async def get_action(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", action_id: UUID, *, visible_account: int | None = None
) -> Action | None:
    """Return one action; None if it does not exist, or is one on a person of another root account."""
    row = await connection.fetchrow(ACTIONS, action_id, None, None, 1, None, None, visible_account)
    return None if row is None else Action(*row)
