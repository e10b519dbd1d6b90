"""Reads scheduled publications: which are in force and due, and which were refused.

Only events are read: a schedule is in force unless a later event of its stream replaced, cancelled or published it.
Each query compares times with PostgreSQL's clock at its own start, so that nothing is due early.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from services.eventlog.postgres import Pool
from services.eventlog.stream_reader import StreamReader, VerdictArchived
from services.moderation.assignment import Assignment
from services.moderation.decisions import COMMAND_EXPIRED
from services.moderation.json_values import parse_time
from services.moderation.schedule import publication_command_id

PAGE_ROWS = 10_000
# The format of the events: the texts sort by time.
_TIME_FORM = """YYYY-MM-DD"T"HH24:MI:SS.MS"Z\""""
_PUBLISH_AT = """(e.data #>> '{payload,publish_at}') collate "C\""""
# $1 seconds before now (null: no limit), $2 seconds after now, $3 maximum number of rows, $4 and $5 time and stream of
# the last row of the page before.
SCHEDULES = f"""
with schedule as (
    select e.stream, e.data, {_PUBLISH_AT} as publish_at
    from event e
    where e.type = 'publication_scheduled'
      and {_PUBLISH_AT} > coalesce(
          to_char((statement_timestamp() - make_interval(secs => $1)) at time zone 'UTC', '{_TIME_FORM}'), '')
      and {_PUBLISH_AT} <=
          to_char((statement_timestamp() + make_interval(secs => $2)) at time zone 'UTC', '{_TIME_FORM}')
      and ({_PUBLISH_AT}, e.stream) > ($4, $5)
      and not exists (select from event l where l.stream = e.stream and l.version > e.version
                      and l.type in ('publication_scheduled', 'publication_schedule_cancelled', 'grades_posted'))
    order by {_PUBLISH_AT}, e.stream limit $3
)
select s.number, s.root_account, s.course, s.assignment, e.data, f.metadata,
       extract(epoch from e.publish_at::timestamptz - statement_timestamp())::float8
from schedule e join stream s on s.number = e.stream join event f on f.stream = e.stream and f.version = 1
order by e.publish_at, e.stream
"""
# $1 command ids.
FIRST_VERDICTS = """
select v.command_id, v.root_account, v.body from verdict v where v.command_id = any($1::uuid[]) and v.first
"""

# $1 streams of assignments. With each the latest versions of the assignment and of its course.
VERSIONS = """
select a.number, (select e.version from event e where e.stream = a.number order by e.version desc limit 1),
       (select e.version from event e where e.stream = c.number order by e.version desc limit 1)
from stream a
join stream c on c.root_account = a.root_account and c.course = a.course and c.assignment is null
where a.number = any($1::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule in force, the id of its publication's command, and the time left by PostgreSQL's clock."""

    stream: int
    root_account: int
    course: int
    assignment: int
    schedule_id: str
    publish_at: datetime
    user_id: int
    plan_digest: str | None
    command_id: str
    seconds_left: float


async def read_schedules(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    seconds_before: float | None,
    seconds_after: float,
    page_rows: int = PAGE_ROWS,
) -> AsyncIterator[list[Schedule]]:
    """Yield the schedules in force whose time is within the given seconds of now, by time, in pages of ``page_rows``.

    ``seconds_before`` None: no limit. Schedules whose publication was refused are included, so that there may be many.
    """
    time_, stream = "", 0
    while True:
        rows = await connection.fetch(SCHEDULES, seconds_before, seconds_after, page_rows, time_, stream)
        if rows:
            yield [_to_schedule(row) for row in rows]
        if len(rows) < page_rows:
            return
        time_, stream = orjson.loads(rows[-1]["data"])["payload"]["publish_at"], rows[-1]["number"]


def _to_schedule(row: Any) -> Schedule:
    stream, root_account, course, assignment, data, metadata, seconds_left = row
    payload = orjson.loads(data)["payload"]
    secret = bytes.fromhex(orjson.loads(metadata)["secret"])
    publish_at = parse_time(payload["publish_at"])
    assert publish_at is not None
    return Schedule(
        stream,
        root_account,
        course,
        assignment,
        payload["schedule_id"],
        publish_at,
        int(payload["user_id"]),
        payload["plan_digest"],
        publication_command_id(secret, payload["schedule_id"]),
        seconds_left,
    )


async def find_decided(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", schedules: Collection[Schedule]
) -> dict[str, str | None]:
    """Return the refusal reasons of decided publications by command id; None for accepted ones."""
    return await _find_decided(connection, {schedule.command_id: schedule.root_account for schedule in schedules})


async def find_refusals(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", assignments: Collection[Assignment]
) -> dict[str, str]:
    """Return the reasons of the assignments' scheduled publications that were refused, by schedule id; one query."""
    scheduled = {
        publication_command_id(assignment.secret, assignment.scheduled_publication.schedule_id): assignment
        for assignment in assignments
        if assignment.scheduled_publication is not None
    }
    decided = await _find_decided(
        connection, {command_id: assignment.root_account_id for command_id, assignment in scheduled.items()}
    )
    return {
        schedule.schedule_id: reason
        for command_id, reason in decided.items()
        if reason is not None and (schedule := scheduled[command_id].scheduled_publication) is not None
    }


async def _find_decided(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", root_accounts: Mapping[str, int]
) -> dict[str, str | None]:
    """Return the refusal reasons of decided commands, given by id with their root accounts; None for accepted ones."""
    rows = await connection.fetch(FIRST_VERDICTS, list(root_accounts)) if root_accounts else []
    return {
        str(command_id): COMMAND_EXPIRED.reason if body is None else orjson.loads(body)["reason"]
        for command_id, root_account, body in rows
        if root_accounts[str(command_id)] == root_account
    }


async def read_versions(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", schedules: Collection[Schedule]
) -> dict[int, tuple[int, int]]:
    """Return by stream the versions of the assignment and of its course."""
    rows = await connection.fetch(VERSIONS, [schedule.stream for schedule in schedules])
    return {row[0]: (row[1], row[2]) for row in rows}


async def find_refusal(
    reader: StreamReader, assignment: Assignment, *, version: int | None = None, at: datetime | None = None
) -> str | None:
    """Return the reason if the assignment's scheduled publication was refused, as of a version or time if given."""
    schedule = assignment.scheduled_publication
    if schedule is None:
        return None
    command_id = publication_command_id(assignment.secret, schedule.schedule_id)
    try:
        stored = await reader.first_verdict(command_id, assignment.root_account_id)
    except VerdictArchived:
        return COMMAND_EXPIRED.reason
    if stored is None:
        return None
    verdict = orjson.loads(stored.body)
    if version is not None and verdict["stream_version"] > version:
        return None
    if at is not None and datetime.fromisoformat(verdict["decided_at"]) > at:
        return None
    reason: str | None = verdict["reason"]
    return reason
