"""Schedules are read from the log page by page, however many of them were refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from services.eventlog.schedules import read_schedules

FIRST = datetime.now(UTC) - timedelta(days=2)
STREAMS = (
    "insert into stream select * from unnest($1::bigint[], $2::bigint[], $2::bigint[], $1::bigint[], $3::smallint[])"
)
EVENTS = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select 0, p, s, v, t, 1, d, m, now()
from unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::json[], $6::json[]) as r(p, s, v, t, d, m)
"""


def event_rows(number: int) -> list[tuple[Any, ...]]:
    """Return the two events of an assignment that is scheduled; each two assignments at the same time."""
    publish_at = (FIRST + timedelta(minutes=number // 2)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    payload = {"publish_at": publish_at, "schedule_id": f"schedule {number}", "user_id": "11", "plan_digest": None}
    created = (2 * number, number, 1, "assignment_created", "{}", json.dumps({"secret": f"{number:064x}"}))
    scheduled = (2 * number + 1, number, 2, "publication_scheduled", json.dumps({"payload": payload}), "{}")
    return [created, scheduled]


async def test_every_schedule_is_read_once_in_pages_by_time(database_url: str) -> None:
    numbers = list(range(1, 8))
    connection = await asyncpg.connect(database_url)
    await connection.execute(STREAMS, numbers, [1] * len(numbers), [0] * len(numbers))
    rows = [row for number in numbers for row in event_rows(number)]
    await connection.execute(EVENTS, *map(list, zip(*rows, strict=True)))
    pages = [
        [schedule.schedule_id for schedule in page] async for page in read_schedules(connection, None, 0.0, page_rows=3)
    ]
    await connection.close()
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [schedule for page in pages for schedule in page] == [f"schedule {number}" for number in numbers]
