"""Finds what has an id: commands, events, and the assignments that know a student. Read-only."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from services.eventlog.postgres import Pool

SCAN_SECONDS_MAX = 3.0
SCAN_WAIT_SECONDS_MAX = 1.0
"""How long a search waits for the scan of another one."""
_SCAN_LOCK = asyncio.Lock()
"""One scan at a time in a process: each reads much of the log, and occupies a connection of the pool."""
# $1 command id, $2 a root account (null: any).
COMMANDS = """
select d.root_account from decided_command d
where d.command_id = $1::uuid and d.first and ($2::bigint is null or d.root_account = $2)
order by 1
"""
# $1 the id of an event, $2 a root account (null: any). No index has these ids: the query reads the log.
EVENT = """
select s.root_account, s.assignment, e.version, e.metadata ->> 'command_id'
from event e join stream s on s.number = e.stream
where $1 in (e.metadata ->> 'id', e.metadata ->> 'live_id', e.metadata ->> 'caliper_id')
  and ($2::bigint is null or s.root_account = $2)
limit 1
"""
# $1 a student's id as text, $2 a root account (null: any), $3 limit. Reads the streams of all assignments.
ASSIGNMENTS_OF_STUDENT = """
select s.root_account, s.course, s.assignment
from stream s
where s.assignment is not null and ($2::bigint is null or s.root_account = $2)
  and exists (select from event e where e.stream = s.number and e.data ->> 'student_id' = $1)
order by s.number desc limit $3
"""
# An index of all correlation ids would make each append parse the verdict's JSON, which may have megabytes.
CORRELATED_PER_SHARD = 10_000
# $1 a correlation id, $2 the same as in the JSON, $3 a root account (null: any), $4 verdicts of each shard, $5 limit.
# Bodies without the text are not parsed: PostgreSQL keeps the order of a case expression, not that of conditions.
CORRELATED = """
select v.shard, v.number, v.body ->> 'type', v.body ->> 'status'
from shard s cross join lateral (select * from verdict_body b where b.shard = s.shard order by b.number desc limit $4) v
where case when strpos(v.body::text, $2) > 0 then v.body ->> 'correlation_id' = $1 else false end
  and ($3::bigint is null or v.body ->> 'root_account_id' = $3::text)
order by v.recorded_at desc, v.shard, v.number desc limit $5
"""
# $1 verdicts of each shard: all later verdicts are among the newest ones of their shards; null: all verdicts are.
CORRELATED_SINCE = """
select max(v.recorded_at)
from shard s cross join lateral (select b.recorded_at from verdict_body b where b.shard = s.shard
                                 order by b.number desc offset $1 limit 1) v
"""


class SearchTooLong(Exception):
    """The log is too large to search for an id without an index."""


class SearchBusy(Exception):
    """Another search is reading the log."""


@dataclass(frozen=True, slots=True)
class FoundEvent:
    """An event; ``assignment`` is None for one of a course."""

    root_account: int
    assignment: int | None
    version: int
    command_id: str


@dataclass(frozen=True, slots=True)
class StudentAssignment:
    """An assignment with events about a student."""

    root_account: int
    course: int
    assignment: int


@dataclass(frozen=True, slots=True)
class CorrelatedVerdict:
    """The verdict of a command with a correlation id; ``type`` is None for an unreadable one."""

    shard: int
    number: int
    type: str | None
    status: str


@dataclass(frozen=True, slots=True)
class CorrelatedVerdicts:
    """``verdicts``: newest first.

    ``since``: if none was found, the time before which verdicts were not searched, None if all were.
    """

    verdicts: list[CorrelatedVerdict]
    since: datetime | None


async def find_commands(pool: Pool, command_id: str, root_account: int | None) -> list[int]:
    """Return the root accounts in which a command with this id is decided; ``root_account`` None: of all."""
    return [row[0] for row in await pool.fetch(COMMANDS, command_id, root_account)]


async def find_event(pool: Pool, event_id: str, root_account: int | None) -> FoundEvent | None:
    """Return the event with this id on events, live-events or caliper. Raises SearchTooLong, SearchBusy."""
    rows = await _scan(pool, EVENT, event_id, root_account)
    return FoundEvent(*rows[0]) if rows else None


async def find_assignments_of_student(
    pool: Pool, student_id: int, root_account: int | None, rows_max: int
) -> list[StudentAssignment]:
    """Return the newest assignments with events about a student. Raises SearchTooLong, SearchBusy."""
    rows = await _scan(pool, ASSIGNMENTS_OF_STUDENT, str(student_id), root_account, rows_max)
    return [StudentAssignment(*row) for row in rows]


async def find_correlated(
    pool: Pool,
    correlation_id: str,
    root_account: int | None,
    rows_max: int,
    verdicts_per_shard: int = CORRELATED_PER_SHARD,
) -> CorrelatedVerdicts:
    """Search the newest verdicts for those of a correlation id. Raises SearchTooLong, SearchBusy."""
    as_json = orjson.dumps(correlation_id).decode()
    rows = await _scan(pool, CORRELATED, correlation_id, as_json, root_account, verdicts_per_shard, rows_max)
    if rows:
        return CorrelatedVerdicts([CorrelatedVerdict(*row) for row in rows], None)
    ((since,),) = await _scan(pool, CORRELATED_SINCE, verdicts_per_shard)
    return CorrelatedVerdicts([], since)


async def _scan(pool: Pool, query: str, *arguments: object) -> list[asyncpg.Record]:
    try:
        async with asyncio.timeout(SCAN_WAIT_SECONDS_MAX):
            await _SCAN_LOCK.acquire()
    except TimeoutError:
        raise SearchBusy from None
    try:
        rows: list[asyncpg.Record] = await pool.fetch(query, *arguments, timeout=SCAN_SECONDS_MAX)
    except (TimeoutError, asyncpg.QueryCanceledError):
        raise SearchTooLong from None
    finally:
        _SCAN_LOCK.release()
    return rows
