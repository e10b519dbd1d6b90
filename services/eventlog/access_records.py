"""The record of which operator read whose education records; auditors read it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.postgres import Pool

# $1 the client's address (null: the database client's), $2 process, $3-$4 root account and user id of a token, $5 what,
# $6 target.
INSERT_ACCESS = """
insert into access_record (client, process, root_account, user_id, what, target)
values ($1::inet, $2, $3, $4, $5, $6)
"""
# $1 since, $2 limit.
AUDIT_TRAIL = """
select a.accessed_at, a.database_user, host(a.client), a.process, a.root_account, a.user_id, a.what, a.target::text,
       null
from access_record a where a.accessed_at >= $1
union all
select o.acted_at, null, null, 'action', o.root_account, o.user_id, o.kind, o.detail::text, o.reason
from operator_action o where o.acted_at >= $1
order by 1 desc limit $2
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A read or an action of an operator; ``target`` is JSON. Unknown fields are None.

    ``user_id``: of the token; ``database_user``: the database's login, for reads.
    """

    at: datetime
    database_user: str | None
    client: str | None
    process: str
    root_account: int | None
    user_id: int | None
    what: str
    target: str
    reason: str | None


async def record_access(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    process: str,
    what: str,
    target: Mapping[str, object],
    *,
    root_account: int | None = None,
    user_id: int | None = None,
    client: str | None = None,
) -> None:
    """Record that education records are shown; ``target`` names them by ids. Raises POSTGRES_ERRORS."""
    named = {name: str(value) for name, value in target.items() if value is not None}
    await connection.execute(INSERT_ACCESS, client, process, root_account, user_id, what, json.dumps(named))


async def read_audit_trail(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", since: datetime, rows_max: int
) -> list[AuditEntry]:
    """Return reads and actions of operators, newest first."""
    return [AuditEntry(*row) for row in await connection.fetch(AUDIT_TRAIL, since, rows_max)]
