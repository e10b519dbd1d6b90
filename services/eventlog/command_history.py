"""Traces one command through the log: its record, its verdict, the events it caused. Read-only."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from services.eventlog.postgres import Pool
from services.eventlog.stream_reader import VerdictArchived

# $1 command id, $2 root account.
FIRST_VERDICT = """
select t.topic, v.partition, v."offset", v.append_time, v.shard, v.number, v.body, v.command_id
from verdict v join source t on t.number = v.source
where v.command_id = $1 and v.root_account = $2 and v.first
"""
# $1 shard, $2 number.
VERDICT_AT = """
select t.topic, v.partition, v."offset", v.append_time, v.shard, v.number, v.body, v.command_id
from verdict v join source t on t.number = v.source where v.shard = $1 and v.number = $2
"""
# $1 topic, $2 partition, $3 offset: of the topic as it was created last.
VERDICT_OF_RECORD = """
select t.topic, v.partition, v."offset", v.append_time, v.shard, v.number, v.body, v.command_id
from (select number, topic from source where topic = $1 order by number desc limit 1) t
join verdict v on v.source = t.number and v.partition = $2 and v."offset" = $3
"""
# $1 root account, $2 course, $3 assignment, $4 command id, $5-$6 versions: an accepted command's events end at the
# version in its verdict, in the assignment's stream or the course's.
CAUSED_EVENTS = """
select e.shard, e.position, e.live_number, s.assignment, e.version, e.type, e.metadata->>'id', e.recorded_at
from stream s join event e on e.stream = s.number and e.version > $5 and e.version <= $6
where s.root_account = $1 and s.course = $2 and (s.assignment is null or s.assignment = $3)
  and e.metadata->>'command_id' = $4
order by e.position
"""


@dataclass(frozen=True, slots=True)
class CommandVerdict:
    """A verdict: ``body`` is its JSON, ``shard`` and ``number`` identify its record on the verdicts topic.

    ``topic``, ``partition``, ``offset``: of the command's record; ``append_time`` in milliseconds since 1970.
    """

    topic: str
    partition: int
    offset: int
    append_time: int
    shard: int
    number: int
    body: str


@dataclass(frozen=True, slots=True)
class CausedEvent:
    """An event; ``position`` and ``live_number`` are its sequence numbers on events and live-events."""

    shard: int
    position: int
    live_number: int | None
    assignment: int | None
    version: int
    type: str
    id: str
    recorded_at: datetime


class CommandHistory:
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection

    async def first_verdict(self, root_account: int, command_id: str) -> CommandVerdict | None:
        """Return the verdict that settled a command id, None while it is not settled. Raises VerdictArchived."""
        return _to_verdict(await self.connection.fetchrow(FIRST_VERDICT, command_id, root_account))

    async def verdict_at(self, shard: int, number: int) -> CommandVerdict | None:
        """Return the verdict of that number, whether or not it settled its command id. Raises VerdictArchived."""
        return _to_verdict(await self.connection.fetchrow(VERDICT_AT, shard, number))

    async def verdict_of_record(self, topic: str, partition: int, offset: int) -> CommandVerdict | None:
        """Return a record's verdict, None while it has none, whether or not it settled its command id.

        Raises VerdictArchived.
        """
        return _to_verdict(await self.connection.fetchrow(VERDICT_OF_RECORD, topic, partition, offset))

    async def caused_events(self, root_account: int, command_verdict: CommandVerdict) -> list[CausedEvent]:
        """Return the events that the command caused, in order."""
        verdict_body = orjson.loads(command_verdict.body)
        if not verdict_body["events"]:
            return []
        course, assignment = [
            None if verdict_body[name] is None else int(verdict_body[name]) for name in ("course_id", "assignment_id")
        ]
        last_version = verdict_body["stream_version"]
        bounds = (verdict_body["command_id"], last_version - verdict_body["events"], last_version)
        rows = await self.connection.fetch(CAUSED_EVENTS, root_account, course, assignment, *bounds)
        return [CausedEvent(*row) for row in rows]


def _to_verdict(row: asyncpg.Record | None) -> CommandVerdict | None:
    if row is None:
        return None
    if row["body"] is None:
        raise VerdictArchived(row["command_id"])
    return CommandVerdict(*row[:7])
