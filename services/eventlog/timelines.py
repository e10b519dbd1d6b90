"""Refuses a former primary: a server that comes back, and accepts writes, after its standby was promoted.

A promotion raises PostgreSQL's timeline, and a restore to a time ends in one. A server on a lower timeline than a
process has seen of the same database system is therefore one that was left, and what it decides would be lost with it.
A new database system (pg_upgrade, a dump that is loaded) has another identifier and starts at timeline 1.

The memory is the process's own. One that starts while the former primary answers, or still has a connection to it,
knows no higher timeline: only stopping that server for good protects from it (deploy/docs/running.md).
"""

from typing import Any

import asyncpg

from services.config.database import FormerPrimary

# The insertion timeline: the control file has the new one only after the first checkpoint that follows a promotion.
READ_TIMELINE = """
select (select system_identifier from pg_control_system()) as system,
       case when not pg_is_in_recovery()
            then ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::bigint end as timeline
"""
# Everyone may call these functions unless an administrator has revoked it; some managed services do not have them.
UNTOLD_ERRORS = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.ObjectNotInPrerequisiteStateError,
)


class SeenTimelines:
    """The highest timeline that this process has seen of each database system.

    ``changes`` counts how often a new connection was to another system or timeline than the one before. What was read
    over earlier ones may be gone from the log: a failover or a restore may have lost its last commits. Servers that are
    refused do not count.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._highest: dict[int, int] = {}
        self._last: tuple[int, int] | None = None

    async def check(self, connection: "asyncpg.Connection[Any]") -> None:
        """Note the timeline of a connection's server, unless it does not tell. Raises FormerPrimary."""
        try:
            row = await connection.fetchrow(READ_TIMELINE)
        except UNTOLD_ERRORS:
            return
        if row is not None and row["timeline"] is not None:
            self.note(row["system"], row["timeline"])

    def note(self, system: int, timeline: int) -> None:
        """Note a timeline. Raises FormerPrimary if it is lower than one that was seen."""
        highest = max(timeline, self._highest.get(system, 0))
        self._highest[system] = highest
        if timeline < highest:
            raise FormerPrimary(timeline, highest)
        if self._last not in (None, (system, timeline)):
            self.changes += 1
        self._last = system, timeline


seen_timelines = SeenTimelines()
