"""Read the log of a run: all rows, and digests of them."""

import contextlib
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg

from services.moderation.schedule import publication_command_id
from tests.system.faults.checker.observations import LogDeadLetter, LogEvent, LogSchedule, LogVerdict, Snapshot

CONNECT_SECONDS_MAX = 5
EVENTS = """
select e.shard, e.position, e.live_number, e.stream, e.version, e.type, e.metadata, e.xmin::text, s.course,
       s.assignment, e.data::text
from event e join stream s on s.number = e.stream order by e.shard, e.position
"""
VERDICTS = """
select c.shard, c.number, c.source, c.partition, c."offset", c.root_account, c.command_id::text, c.first, b.metadata,
       c.xmin::text, b.body
from decided_command c join verdict_body b using (recorded_at, shard, number) order by c.shard, c.number
"""
DEAD_LETTERS = 'select shard, number, source, partition, "offset", reason from dead_letter order by shard, number'
# With each the next event that ended it, and the first event of its stream, whose metadata hold the secret.
SCHEDULES = """
select s.assignment, e.data->'payload'->>'schedule_id', e.data->'payload'->>'publish_at', f.metadata->>'secret',
       l.metadata->>'command_id', l.type
from event e join stream s on s.number = e.stream join event f on f.stream = e.stream and f.version = 1
left join lateral (
    select n.type, n.metadata from event n where n.stream = e.stream and n.version > e.version
    and n.type in ('publication_scheduled', 'publication_schedule_cancelled', 'grades_posted')
    order by n.version limit 1
) l on true
where e.type = 'publication_scheduled' order by e.shard, e.position
"""
DECIDED = "select command_id::text from decided_command where first and command_id::text in ('{}')"
DIGESTS = {
    "event": "select shard, md5(t::text) from event t order by shard, position",
    "decided_command": "select shard, md5(t::text) from decided_command t order by shard, number",
    "verdict_body": "select shard, md5(t::text) from verdict_body t order by shard, number",
    "dead_letter": "select shard, md5(t::text) from dead_letter t order by shard, number",
}
COUNTS = """
select (select count(*) from decided_command), (select count(*) from event),
       (select count(*) from event where live_number is not null), (select count(*) from dead_letter)
"""

SOURCE = "select coalesce(max(number), 1) from source"
OUTCOMES = f"""
select (select count(*) from decided_command where source = ({SOURCE}))
     + (select count(*) from dead_letter where source = ({SOURCE}))
"""


@contextlib.contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """Connect so that each statement is committed. Raises psycopg.OperationalError."""
    with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS_MAX) as connection:
        yield connection


def fetch(url: str, query: str) -> list[tuple[Any, ...]]:
    """Execute one statement and return its rows, if it has any."""
    with connected(url) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def count_rows(url: str) -> dict[str, int]:
    """Return how many records each output should have."""
    verdicts, events, live, dead_letters = fetch(url, COUNTS)[0]
    return {
        "verdicts": verdicts,
        "events": events,
        "live-events": live,
        "caliper": live,
        "dead-letters": dead_letters,
    }


def count_outcomes(url: str) -> int:
    """Return how many records of the commands topic's newest incarnation have an outcome."""
    ((count,),) = fetch(url, OUTCOMES)
    return int(count)


def read_events(url: str) -> list[LogEvent]:
    events = []
    for row in fetch(url, EVENTS):
        *_, metadata, transaction, course, assignment, data = row
        ids = (metadata["id"], metadata.get("live_id"), metadata.get("caliper_id"), metadata["command_id"])
        columns: list[Any] = [*row[:6], *ids, transaction, course, assignment, metadata.get("student_id"), data]
        events.append(LogEvent(*columns))
    return events


def read_verdicts(url: str) -> list[LogVerdict]:
    verdicts = []
    for row in fetch(url, VERDICTS):
        *place, metadata, transaction, body = row
        columns: list[Any] = [*place, metadata["id"], transaction, body]
        verdicts.append(LogVerdict(*columns))
    return verdicts


def read_dead_letters(url: str) -> list[LogDeadLetter]:
    return [LogDeadLetter(*row) for row in fetch(url, DEAD_LETTERS)]


def read_schedules(url: str) -> list[LogSchedule]:
    schedules = []
    for assignment, schedule_id, publish_at, secret, ended_by, ended_as in fetch(url, SCHEDULES):
        due_at = datetime.fromisoformat(publish_at).timestamp()
        publication_id = publication_command_id(bytes.fromhex(secret), schedule_id)
        schedules.append(LogSchedule(assignment, schedule_id, due_at, publication_id, ended_by, ended_as))
    return schedules


def count_undecided_schedules(url: str) -> int:
    """Return how many schedules are in force and have not been sent and decided."""
    in_force = {schedule.publication_id for schedule in read_schedules(url) if schedule.ended_by is None}
    decided = fetch(url, DECIDED.format("', '".join(in_force))) if in_force else []
    return len(in_force - {command_id for (command_id,) in decided})


def take_snapshot(url: str, name: str) -> Snapshot:
    """Digest every row of the log, in one transaction."""
    rows: dict[str, list[str]] = {}
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS_MAX) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for table, query in DIGESTS.items():
            for shard, digest in connection.execute(query.encode()):
                # Snapshots of one run share the digests of rows that stayed the same.
                rows.setdefault(f"{table} {shard}", []).append(sys.intern(digest))
    return Snapshot(name, rows)
