"""Leases of the relay's lanes: locks held by one session of each relay, visible to all relays.

A relay holds all its leases in one session, which it uses several times a second. A session that is no longer used
belongs to a relay that hangs; ending the session ends all its leases.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg

LEASE_PROCESS = "relay-leases"
"""The process name of the connection; its session in PostgreSQL's views has the prefix ``moderation-``."""
# $1 names of locks, $2 the name of relays' sessions. A lock's number is its index in $1, from 1. The activity of
# another login's session is null, unless our login may see all activity.
SESSIONS = """
select l.pid, array_agg(k.number::integer order by k.number), coalesce(bool_and(a.application_name = $2), false),
       min(a.state_change)
from unnest($1::text[]) with ordinality k(name, number)
join pg_locks l on (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(k.name, 0)
left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
group by l.pid
"""
# $1 process, $2 the name of relays' sessions, $3 when it was used last: another session may have the process by now.
END_SESSION = """
select pg_terminate_backend(a.pid) from pg_stat_activity a
where a.pid = $1 and a.application_name = $2 and a.state_change = $3
"""
TRY_LOCK = "select pg_try_advisory_lock(hashtextextended($1, 0))"
UNLOCK = "select pg_advisory_unlock(hashtextextended($1, 0))"
JOIN = "select pg_advisory_lock_shared(hashtextextended($1, 0))"
LEAVE = "select pg_advisory_unlock_shared(hashtextextended($1, 0))"


def lane_lock_name(prefix: str, lane: int) -> str:
    """Return the name of the lock that a lane's active relay holds."""
    return f"relay {prefix} {lane}"


@dataclass(frozen=True, slots=True)
class LeaseSession:
    """A session that holds locks of the lanes.

    ``is_member``: its relay takes a share of the lanes. ``last_used_at``: by PostgreSQL's clock; None if this login may
    not see it, or if the session is that of an operator's command.
    """

    pid: int
    lanes: frozenset[int]
    is_member: bool = True
    last_used_at: datetime | None = None

    @property
    def has_other_login(self) -> bool:
        """Whether a relay with another login holds it: only relays are members, and its activity is hidden."""
        return self.is_member and self.last_used_at is None


class RelayLeases:
    """The leases of one relay, over a separate connection. Every method may raise POSTGRES_ERRORS."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", prefix: str, lanes: Sequence[int]) -> None:
        self.connection = connection
        self.pid = 0
        self._names = {lane: lane_lock_name(prefix, lane) for lane in lanes}
        self._members_name = f"relays {prefix}"

    async def begin(self) -> None:
        """Leave the log's reader role: only a session's own login may see its activity and end it.

        The server is asked for the session's process: a pooler tells its clients another one.
        """
        await self.connection.execute("set role none")
        self.pid = await self.connection.fetchval("select pg_backend_pid()")

    async def read_sessions(self) -> list[LeaseSession]:
        """Return the sessions that hold any of the locks, this one included."""
        lanes = list(self._names)
        rows = await self.connection.fetch(
            SESSIONS, [self._members_name, *self._names.values()], f"moderation-{LEASE_PROCESS}"
        )
        return [
            LeaseSession(
                pid, frozenset(lanes[n - 2] for n in numbers if n > 1), 1 in numbers, last_used_at if is_relay else None
            )
            for pid, numbers, is_relay, last_used_at in rows
        ]

    async def join(self) -> None:
        """Join the relays that share the lanes."""
        await self.connection.fetchval(JOIN, self._members_name)

    async def leave(self) -> None:
        """Leave the relays that share the lanes, and keep the lanes that are held."""
        await self.connection.fetchval(LEAVE, self._members_name)

    async def try_lock(self, lane: int) -> bool:
        """Take a lane; False if another session holds it."""
        return bool(await self.connection.fetchval(TRY_LOCK, self._names[lane]))

    async def unlock(self, lane: int) -> None:
        """Release a lane."""
        await self.connection.fetchval(UNLOCK, self._names[lane])

    async def end_session(self, session: LeaseSession) -> bool:
        """End another relay's session, and with it its leases; False if it has ended, or was used since it was read.

        Raises:
            InsufficientPrivilegeError: it has another login.
        """
        name = f"moderation-{LEASE_PROCESS}"
        return bool(await self.connection.fetchval(END_SESSION, session.pid, name, session.last_used_at))
