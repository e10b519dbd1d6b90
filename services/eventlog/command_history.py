"""The way of one command through the log: its record, its verdict, the events it caused. Never writes."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from services.eventlog.postgres import Pool

DECISION = """
select t.topic, v.partition, v."offset", v.append_time, v.shard, v.number, v.body
from verdict v join source t on t.number = v.source
where v.command_id = $1 and v.root_account = $2 and v.first
"""
DECISION_AT = """
select t.topic, v.partition, v."offset", v.append_time, v.shard, v.number, v.body
from verdict v join source t on t.number = v.source where v.shard = $1 and v.number = $2
"""
# An accepted command's events end at the version that its verdict names, in the assignment's stream or the course's.
EFFECTS = """
select e.shard, e.position, e.live_number, s.assignment, e.version, e.type, e.metadata->>'id', e.recorded_at
from stream s join event e on e.stream = s.number and e.version > $5 and e.version <= $6
where s.root_account = $1 and s.course = $2 and (s.assignment is null or s.assignment = $3)
  and e.metadata->>'command_id' = $4
order by e.position
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict: ``body`` is its JSON, ``shard`` and ``number`` its place on the verdicts topic.

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
class Effect:
    """An event. ``position`` and ``live_number`` are its numbers on events and live-events, in partition ``shard``."""

    shard: int
    position: int
    live_number: int | None
    assignment: int | None
    version: int
    type: str
    id: str
    recorded_at: datetime


class Causes:
    """Reads over one connection or pool. Every method may raise asyncpg's and OSError's errors."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        self.connection = connection

    async def decision(self, root_account: int, command_id: str) -> Decision | None:
        """What settled a command, None while nothing has."""
        row = await self.connection.fetchrow(DECISION, command_id, root_account)
        return None if row is None else Decision(*row)

    async def decision_at(self, shard: int, number: int) -> Decision | None:
        """The verdict of that number, whether or not it settled its command."""
        row = await self.connection.fetchrow(DECISION_AT, shard, number)
        return None if row is None else Decision(*row)

    async def effects(self, root_account: int, decision: Decision) -> list[Effect]:
        """The events that the command caused, in order."""
        verdict = orjson.loads(decision.body)
        if not verdict["events"]:
            return []
        course, assignment = [
            None if verdict[name] is None else int(verdict[name]) for name in ("course_id", "assignment_id")
        ]
        last = verdict["stream_version"]
        bounds = (verdict["command_id"], last - verdict["events"], last)
        rows = await self.connection.fetch(EFFECTS, root_account, course, assignment, *bounds)
        return [Effect(*row) for row in rows]
