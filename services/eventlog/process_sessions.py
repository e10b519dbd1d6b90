"""Processes connected to PostgreSQL, the relay that holds each lane, and when each was last active. Read-only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.postgres import Pool
from services.eventlog.relay_leases import LEASE_PROCESS, lane_lock_name

PROCESS_NAMES = {"handler": "handler", LEASE_PROCESS: "relay", "gateway": "gateway", "scheduler": "scheduler"}
"""Processes by the name of the sessions that each instance has while it works."""
# $1 names of sessions. The time and address of a session that our role may not see are null.
SESSIONS = """
select a.application_name, a.usename, host(a.client_addr), count(*), max(a.state_change)
from pg_stat_activity a
where a.datname = current_database() and a.application_name = any($1::text[])
group by 1, 2, 3 order by 1, 2, 3
"""
# $1 names of sessions.
HAS_SESSIONS = """
select exists (select from pg_stat_activity a
               where a.datname = current_database() and a.application_name = any($1::text[]))
"""
# $1 names of locks. A lock's number is its index in $1, from 1.
LANE_HOLDERS = """
select k.number, l.pid, a.usename, host(a.client_addr), a.state_change
from unnest($1::text[]) with ordinality k(name, number)
left join pg_locks l on (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(k.name, 0)
  and l.locktype = 'advisory' and l.objsubid = 1 and l.granted
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
left join pg_stat_activity a on a.pid = l.pid
order by k.number, l.pid
"""
# $1 topic, $2 partitions. Reads one entry of an index for each partition.
LAST_DECISIONS = """
select p, (select c.recorded_at from decided_command c where c.source = s.number and c.partition = p
           order by c."offset" desc limit 1)
from unnest($2::integer[]) p
cross join (select number from source where topic = $1 order by number desc limit 1) s
"""
# The log's roles may see no session's activity. Only members of pg_read_all_stats see that of other logins; a login
# without inheritance must take the role.
SEE_ACTIVITY = """
select set_config('role', case when pg_has_role(session_user, 'pg_read_all_stats', 'member') then 'pg_read_all_stats'
                          else 'none' end, true)
"""


@dataclass(frozen=True, slots=True)
class ProcessSessions:
    """The sessions of one process's instances from one address. ``count`` 0: no instance is connected.

    ``last_used_at``: by PostgreSQL's clock, when the latest statement began or ended; it and ``address`` are None where
    the reader's login may not see the activity of ``login``. ``address`` is also None for a local socket.
    """

    process: str
    login: str | None = None
    address: str | None = None
    count: int = 0
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LaneHolder:
    """A lane of the relays, and the session that holds it: ``pid`` None if no relay does; else as ProcessSessions."""

    lane: int
    pid: int | None = None
    login: str | None = None
    address: str | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ProcessActivity:
    """The sessions of all processes and the holders of all lanes, read at one time."""

    sessions: tuple[ProcessSessions, ...] = ()
    lanes: tuple[LaneHolder, ...] = ()


async def read_process_activity(pool: Pool, prefix: str, lanes: Sequence[int]) -> ProcessActivity:
    """Read the sessions of each process, at least one entry for each, and the holder of each lane.

    Raises:
        POSTGRES_ERRORS: PostgreSQL does not answer.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(SEE_ACTIVITY)
        names = [f"moderation-{name}" for name in PROCESS_NAMES]
        rows = await connection.fetch(SESSIONS, names)
        holders = await connection.fetch(LANE_HOLDERS, [lane_lock_name(prefix, lane) for lane in lanes])
    sessions = []
    for name, process in PROCESS_NAMES.items():
        found = [ProcessSessions(process, *row[1:]) for row in rows if row[0] == f"moderation-{name}"]
        sessions += found or [ProcessSessions(process)]
    return ProcessActivity(tuple(sessions), tuple(LaneHolder(lanes[row[0] - 1], *row[1:]) for row in holders))


async def is_handler_connected(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Return whether a handler has a session; one that has stopped for an operator keeps that of its checks."""
    return bool(await connection.fetchval(HAS_SESSIONS, ["moderation-handler", "moderation-handler-watch"]))


async def read_last_decisions(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", topic: str, partitions: Sequence[int]
) -> dict[int, datetime]:
    """Return when the last command of each partition was decided; partitions without one are left out."""
    rows = await connection.fetch(LAST_DECISIONS, topic, list(partitions))
    return {partition: at for partition, at in rows if at is not None}
