"""A large log, filled fast: one course as the handler stored it, copied by PostgreSQL under other ids.

The copies are what the handler would have stored for other courses: ids, positions, numbers and places are theirs.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import asyncpg

from deploy.tools.bench.deciding import decide, facts
from deploy.tools.bench.load import Course, assignments, mixed_records, record
from deploy.tools.bench.site import Site
from services.eventlog.log import Log
from services.eventlog.shards import SHARDS, shard_of_course

COURSE = 7_000_000_001
# Ids that the service draws are number * 2**20 + n. With a number that is a multiple of 5**6 they are, as decimal
# text, a prefix of its own and six digits of n: the copies' ids are then a replacement in the text.
NUMBER_STEP, PREFIX_STEP = 5**6, 2**14
FIRST_STEP = 400_000
COURSE_TEXT, PREFIX_TEXT = str(COURSE), f"{FIRST_STEP * PREFIX_STEP}000"
COMMANDS_MAX = 50_000
MAKE = """
create unlogged table copy (course bigint, course_number bigint, number bigint, prefix text, shard smallint,
                            turn bigint);
create unlogged table original_event (of_course boolean, position bigint, version integer, type text, data text,
                                      metadata text, id text, command_id text, recorded_at timestamptz);
create unlogged table original_verdict (number bigint, first boolean, content_hash bytea, "offset" bigint,
                                        append_time bigint, body text, metadata text, id text, command_id text);
"""
READ_EVENTS = """
select s.assignment is null, e.position, e.version, e.type, e.data::text, e.metadata::text, e.metadata->>'id',
       e.metadata->>'command_id', e.recorded_at
from event e join stream s on s.number = e.stream
"""
READ_VERDICTS = """
select v.number, v.first, v.content_hash, v."offset", v.append_time, v.body::text, v.metadata::text, v.metadata->>'id',
       v.command_id::text
from verdict v
"""
STREAMS = """
insert into stream (number, root_account, course, assignment, shard)
select c.course_number, 1, c.course, null, c.shard from copy c
union all
select c.number, 1, c.course, c.course * 100, c.shard from copy c
"""
# The order is that of the log: in turns, so that shards grow together.
EVENTS = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select c.shard, c.turn * $1::bigint + e.position, case when e.of_course then c.course_number else c.number end,
       e.version, e.type, 1, replace(replace(e.data, $2, c.course::text), $3, c.prefix)::json,
       replace(replace(e.metadata, e.command_id, md5(e.command_id || c.course)::uuid::text),
               e.id, md5(e.id || c.course)::uuid::text)::json,
       e.recorded_at
from copy c cross join original_event e
order by c.turn, c.shard, e.position
"""
VERDICTS = """
insert into verdict (shard, number, root_account, command_id, first, content_hash, source, partition, "offset",
                     append_time, key, body, metadata)
select c.shard, c.turn * $1::bigint + v.number, 1, md5(v.command_id || c.course)::uuid, v.first, v.content_hash,
       $4, c.shard, c.turn * $1::bigint + v."offset", v.append_time, convert_to(c.course::text, 'UTF8'),
       replace(replace(replace(v.body, v.command_id, md5(v.command_id || c.course)::uuid::text),
                       $2, c.course::text), $3, c.prefix)::json,
       replace(replace(replace(v.metadata, v.command_id, md5(v.command_id || c.course)::uuid::text),
                       v.id, md5(v.id || c.course)::uuid::text), $2, c.course::text)::json
from copy c cross join original_verdict v
order by c.turn, c.shard, v.number
"""
FINISH: tuple[LiteralString, ...] = (
    "select setval('stream_number', (select max(number) from stream))",
    "drop table copy, original_event, original_verdict",
    # As autovacuum would have done meanwhile.
    "vacuum (analyze) stream, event, verdict",
    "checkpoint",
)


@dataclass(frozen=True, slots=True)
class Original:
    """The rows of one course with one assignment, all of one time."""

    students: int
    events: Sequence[Any]
    verdicts: Sequence[Any]

    async def copied(self, url: str, count: int) -> list[Course]:
        """Fill an empty log with so many courses, all shards alike as far as it comes out even."""
        connection, other = await asyncpg.connect(url), await asyncpg.connect(url)
        try:
            await connection.execute(MAKE)
            await connection.copy_records_to_table("original_event", records=self.events)
            await connection.copy_records_to_table("original_verdict", records=self.verdicts)
            copies = _copies(count)
            await connection.copy_records_to_table("copy", records=copies)
            await connection.execute(STREAMS)
            source = await Log(connection).current_source("filled")
            texts = (COURSE_TEXT, PREFIX_TEXT)
            await asyncio.gather(
                connection.execute(EVENTS, len(self.events), *texts),
                other.execute(VERDICTS, len(self.verdicts), *texts, source),
            )
            for statement in FINISH:
                await connection.execute(statement)
        finally:
            await connection.close()
            await other.close()
        return [Course(course, self.students, {course * 100: number}) for course, _, number, *_ in copies]


async def original(site: Site, students: int) -> Original:
    """A course whose students are graded once, with as many mixed commands more, decided and stored as any."""
    number = FIRST_STEP * NUMBER_STEP
    course = Course(COURSE, students, {COURSE * 100: number})
    url = site.database()
    connection = await asyncpg.connect(url)
    try:
        # The course's stream draws the number before the assignment's.
        await connection.execute("select setval('stream_number', $1)", number - 2)
        first = [record(made) for made in facts(COURSE, students, assignments(COURSE, 1))]
        # One batch has one time, so that the times of the copies do not fall either.
        await decide(url, [*first, *mixed_records([course], students)], COMMANDS_MAX)
        assert await connection.fetchval("select max(number) from stream") == number
        made = Original(students, await connection.fetch(READ_EVENTS), await connection.fetch(READ_VERDICTS))
    finally:
        await connection.close()
    site.drop(url)
    return made


def _copies(count: int) -> list[tuple[int, int, int, str, int, int]]:
    """Rows of the table copy: course, its number, the assignment's, the prefix of drawn ids, shard, turn in it."""
    rows: list[tuple[int, int, int, str, int, int]] = []
    turns: Counter[int] = Counter()
    each, course = -(-count // SHARDS), COURSE
    while len(rows) < count:
        course += 1
        shard = shard_of_course(course)
        if turns[shard] < each:
            step = FIRST_STEP + len(rows) + 1
            number = step * NUMBER_STEP
            rows.append((course, number - 1, number, f"{step * PREFIX_STEP}000", shard, turns[shard]))
            turns[shard] += 1
    return rows
