"""The record of which operator read whose education records; auditors read it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.postgres import Pool

HIDDEN_STUDENT = "hidden_student"
"""Name in a target of the student whom the reader saw by an anonymous id: not shown where that id is."""
# $1 the client's address (null: the database client's), $2 process, $3-$4 root account and user id of a token, $5 what,
# $6 target, $7 reason.
INSERT_ACCESS = """
insert into access_record (client, process, root_account, user_id, what, target, reason)
values ($1::inet, $2, $3, $4, $5, $6, $7)
"""
# $1 since, $2-$3 time and key to continue after, $4 user id, $5 database user, $6 what, $7 a value of the target,
# $8 the root account that is seen, $9 limit, $10 whether hidden students are named. Null: any. Either part reads its
# newest rows from an index.
_FILTERS = """
  and ($2::timestamptz is null or ({at}, {key}) < ($2, $3::text)) and ($4::bigint is null or user_id = $4)
  and ($6::text is null or {what} = $6)
  and ($7::text is null or exists (select from json_each_text({target}) named
                                   where named.value = $7 and ($10::boolean or named.key <> 'hidden_student')))
"""
AUDIT_TRAIL = f"""
select at, key, database_user, client, process, root_account, user_id, what, target::text, reason
from (
    (select accessed_at, id::text, database_user, host(client), process, root_account, user_id, what, target, reason
     from access_record
     where accessed_at >= $1 {_FILTERS.format(at="accessed_at", key="id::text", what="what", target="target")}
       and ($5::text is null or database_user = $5) and ($8::bigint is null or target ->> 'root_account' = $8::text)
     order by accessed_at desc, id::text desc limit $9)
    union all
    (select acted_at, id::text, null, null, 'action', root_account, user_id, kind, detail, reason
     from operator_action
     where acted_at >= $1 {_FILTERS.format(at="acted_at", key="id::text", what="kind", target="detail")}
       and $5::text is null
       and ($8::bigint is null or root_account = $8 and coalesce(detail ->> 'root_account_id' = $8::text, true))
     order by acted_at desc, id::text desc limit $9)
) t (at, key, database_user, client, process, root_account, user_id, what, target, reason)
order by at desc, key desc limit $9
"""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Selects entries; None does not restrict.

    ``before``: time and key of the entry to continue after. ``target``: one of the ids that the entry names.
    ``visible_account``: only entries about this root account. ``names_hidden_students``: ``target`` may also be a
    student whom the reader saw by an anonymous id.
    """

    since: datetime
    before: tuple[datetime, str] | None = None
    user_id: int | None = None
    database_user: str | None = None
    what: str | None = None
    target: str | None = None
    visible_account: int | None = None
    names_hidden_students: bool = True


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A read or an action of an operator; ``target`` is JSON. Unknown fields are None.

    ``user_id``: of the token; ``database_user``: the database's login, for reads. ``key`` is unique.
    """

    at: datetime
    key: str
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
    reason: str | None = None,
) -> None:
    """Record that education records are shown; ``target`` names them by ids. Raises POSTGRES_ERRORS."""
    named = {name: str(value) for name, value in target.items() if value is not None}
    await connection.execute(INSERT_ACCESS, client, process, root_account, user_id, what, json.dumps(named), reason)


async def read_audit_trail(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool", audit_filter: AuditFilter, rows_max: int
) -> list[AuditEntry]:
    """Return reads and actions of operators, newest first."""
    rows = await connection.fetch(
        AUDIT_TRAIL,
        audit_filter.since,
        *(audit_filter.before or (None, None)),
        audit_filter.user_id,
        audit_filter.database_user,
        audit_filter.what,
        audit_filter.target,
        audit_filter.visible_account,
        rows_max,
        audit_filter.names_hidden_students,
    )
    return [AuditEntry(*row) for row in rows]
