"""Lists assignments, the newest first. Read-only."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from services.eventlog.postgres import Pool

# $1 an assignment's or course's id (null: all), $2 stream number to continue below, $3 limit, $4 a root account (null:
# all). Reads only the first and the last event of each listed stream.
ASSIGNMENTS = """
select s.number, s.root_account, s.course, s.assignment, l.version, l.recorded_at, f.data->'payload'->>'name'
from stream s
cross join lateral (select e.version, e.recorded_at from event e where e.stream = s.number
                    order by e.version desc limit 1) l
join event f on f.stream = s.number and f.version = 1
where s.assignment is not null and ($1::bigint is null or s.assignment = $1 or s.course = $1)
  and ($2::bigint is null or s.number < $2) and ($4::bigint is null or s.root_account = $4)
order by s.number desc limit $3
"""


@dataclass(frozen=True, slots=True)
class AssignmentSummary:
    """An assignment: ``name`` as of its creation, ``version`` and ``changed_at`` of its last event."""

    stream_number: int
    root_account: int
    course: int
    assignment: int
    version: int
    changed_at: datetime
    name: str | None


async def list_assignments(
    connection: "asyncpg.Connection[asyncpg.Record] | Pool",
    assignment_or_course_id: int | None,
    before_stream_number: int | None,
    rows_max: int,
    root_account: int | None = None,
) -> list[AssignmentSummary]:
    """Return assignments by stream number, descending; ``root_account`` None: of all."""
    return [
        AssignmentSummary(*row)
        for row in await connection.fetch(
            ASSIGNMENTS, assignment_or_course_id, before_stream_number, rows_max, root_account
        )
    ]
