"""Reads all data of a person in the log: events about the person, or caused by the person. Read-only."""

from typing import Any, NamedTuple

import asyncpg
import orjson

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import unseal_events

Json = dict[str, Any]
ROWS_PER_FETCH = 1_000
ROW_LISTS = {"users_updated": "users", "enrollments_updated": "enrollments", "admins_updated": "admins"}
"""By event, the list that has a row for each of several people."""
# $1 root account, $2 the user id as text. Reads the whole log of the root account: an export is rare.
EVENTS_OF_PERSON = """
select e.type, e.data, e.metadata
from stream s join event e on e.stream = s.number
where s.root_account = $1
  and (e.data ->> 'user_id' = $2 or e.data ->> 'student_id' = $2 or e.data #>> '{payload,author_id}' = $2
       or e.data #>> '{payload,scorer_id}' = $2 or e.data #>> '{payload,grader_id}' = $2
       or e.data #>> '{payload,user_id}' = $2
       or e.type in ('users_updated', 'enrollments_updated', 'admins_updated')
          and e.data ->> 'payload' like '%"user_id":"' || $2 || '"%')
order by e.shard, e.position
"""
ACTIONS_OF_PERSON = """
select json_build_object('kind', a.kind, 'reason', a.reason, 'detail', a.detail, 'acted_at', a.acted_at)::text
from operator_action a where a.root_account = $1 and a.user_id = $2 order by a.acted_at
"""


class PersonEvent(NamedTuple):
    """An event about a person; ``data`` and ``metadata`` are JSON."""

    type: str
    data: str
    metadata: str


async def read_person_events(
    connection: "asyncpg.Connection[asyncpg.Record]", root_account: int, user_id: int
) -> list[Json]:
    """Return events, each with its name and the person's HTTP request; rows of other people are left out."""
    events: list[Json] = []
    keys = EncryptionKeys(connection)
    async with connection.transaction(readonly=True):
        cursor = await connection.cursor(EVENTS_OF_PERSON, root_account, str(user_id))
        while rows := await cursor.fetch(ROWS_PER_FETCH):
            for event in await unseal_events(keys, [PersonEvent(*row) for row in rows]):
                events.append(_build_event(event, str(user_id)))
    return events


async def read_person_actions(
    connection: "asyncpg.Connection[asyncpg.Record]", root_account: int, user_id: int
) -> list[Json]:
    """Return the actions that the person took as an operator, oldest first."""
    return [orjson.loads(row[0]) for row in await connection.fetch(ACTIONS_OF_PERSON, root_account, user_id)]


def _build_event(event: PersonEvent, user_id: str) -> Json:
    data = orjson.loads(event.data)
    rows_name = ROW_LISTS.get(event.type)
    if rows_name is not None:
        data["payload"][rows_name] = [row for row in data["payload"][rows_name] if row["user_id"] == user_id]
    request = orjson.loads(event.metadata).get("request")
    if request is not None and data["user_id"] == user_id:
        data["request"] = request
    return {"event": event.type, **data}
