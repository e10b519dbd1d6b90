"""Fills a large log fast: PostgreSQL copies one course, as the handler stored it, under other ids.

The copies are what the handler would have stored for other courses, with their own ids, positions, numbers and offsets.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import asyncpg

from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.in_process import decide, setup_commands
from deploy.benchmarks.workload import Course, build_record, list_assignment_ids, mixed_records
from services.eventlog.store import EventStore
from services.kafka.partitioning import SHARD_COUNT, get_course_shard

TEMPLATE_COURSE = 7_000_000_001
# Ids that the service generates are number * 2**20 + n. Where number is a multiple of 5**6, their decimal text is a
# prefix (the multiple times 2**14) and six digits of n, so that replacing the prefix gives the ids of a copy.
NUMBER_STEP = 5**6
FIRST_STEP = 400_000
TEMPLATE_COURSE_TEXT = str(TEMPLATE_COURSE)
COMMANDS_MAX = 50_000
CREATE_TABLES = """
create unlogged table copy (course bigint, step bigint, shard smallint, turn bigint);
create unlogged table original_event (place bigint, position bigint, version integer, type text, data text,
                                      metadata text, id text, command_id text, recorded_at timestamptz);
create unlogged table original_verdict (place bigint, number bigint, first boolean, content_hash bytea, "offset" bigint,
                                        append_time bigint, body text, metadata text, id text, command_id text);
"""
READ_EVENTS = """
select coalesce(s.assignment - s.course * 100 + 1, 0), e.position, e.version, e.type, e.data::text, e.metadata::text,
       e.metadata->>'id', e.metadata->>'command_id', e.recorded_at
from event e join stream s on s.number = e.stream
"""
READ_VERDICTS = """
select coalesce((v.metadata->>'assignment_id')::bigint - (v.metadata->>'course_id')::bigint * 100 + 1, 0),
       v.number, v.first, v.content_hash, v."offset", v.append_time, v.body::text, v.metadata::text, v.metadata->>'id',
       v.command_id::text
from verdict v
"""
INSERT_STREAMS = """
insert into stream (number, root_account, course, assignment, shard)
select c.step * $1, 1, c.course, null, c.shard from copy c
union all
select (c.step + place) * $1, 1, c.course, c.course * 100 + place - 1, c.shard
from copy c cross join generate_series(1, $2::bigint) place
"""
# Interleave the shards, as in a real log.
INSERT_EVENTS = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select c.shard, c.turn * $1::bigint + e.position, (c.step + e.place) * $4::bigint, e.version, e.type, 1,
       replace(replace(e.data, $2, c.course::text), (($3::bigint + e.place) * 16384)::text || '000',
               ((c.step + e.place) * 16384)::text || '000')::json,
       replace(replace(e.metadata, e.command_id, md5(e.command_id || c.course)::uuid::text),
               e.id, md5(e.id || c.course)::uuid::text)::json,
       e.recorded_at
from copy c cross join original_event e
order by c.turn, c.shard, e.position
"""
INSERT_VERDICTS = """
with seeded as (
    select c.turn, c.shard, c.turn * $1::bigint + v.number as number, md5(v.command_id || c.course)::uuid as command_id,
           v.first, v.content_hash, c.turn * $1::bigint + v."offset" as "offset", v.append_time,
           (v.metadata::json->>'time')::timestamptz as recorded_at, convert_to(c.course::text, 'UTF8') as key,
           replace(replace(replace(v.body, v.command_id, md5(v.command_id || c.course)::uuid::text),
                           $2, c.course::text), (($3::bigint + v.place) * 16384)::text || '000',
                   ((c.step + v.place) * 16384)::text || '000')::json as body,
           replace(replace(replace(v.metadata, v.command_id, md5(v.command_id || c.course)::uuid::text),
                           v.id, md5(v.id || c.course)::uuid::text), $2, c.course::text)::json as metadata
    from copy c cross join original_verdict v
), bodies as (
    insert into verdict_body (recorded_at, shard, number, key, body, metadata)
    select recorded_at, shard, number, key, body, metadata from seeded order by turn, shard, number
)
insert into decided_command (shard, number, root_account, command_id, first, content_hash, source, partition, "offset",
                             append_time, recorded_at)
select shard, number, 1, command_id, first, content_hash, $4::bigint, shard, "offset", append_time, recorded_at
from seeded order by turn, shard, number
"""
FINISH_STATEMENTS: tuple[LiteralString, ...] = (
    "select setval('stream_number', (select max(number) from stream))",
    "drop table copy, original_event, original_verdict",
    # As autovacuum would have done by now.
    "vacuum (analyze) stream, event, decided_command, verdict_body",
    "checkpoint",
)


@dataclass(frozen=True, slots=True)
class CourseTemplate:
    """The rows of one course and its assignments, all with the same time."""

    students: int
    assignments: int
    events: Sequence[Any]
    verdicts: Sequence[Any]

    async def copy_to_log(self, url: str, count: int) -> list[Course]:
        """Fill an empty log with ``count`` courses, spread evenly over the shards."""
        connection, second_connection = await asyncpg.connect(url), await asyncpg.connect(url)
        try:
            await connection.execute(CREATE_TABLES)
            await connection.copy_records_to_table("original_event", records=self.events)
            await connection.copy_records_to_table("original_verdict", records=self.verdicts)
            copies = _copy_rows(count, self.assignments)
            await connection.copy_records_to_table("copy", records=copies)
            await connection.execute(INSERT_STREAMS, NUMBER_STEP, self.assignments)
            source = await EventStore(connection).current_incarnation("filled")
            texts = (TEMPLATE_COURSE_TEXT, FIRST_STEP)
            await asyncio.gather(
                connection.execute(INSERT_EVENTS, len(self.events), *texts, NUMBER_STEP),
                second_connection.execute(INSERT_VERDICTS, len(self.verdicts), *texts, source),
            )
            for statement in FINISH_STATEMENTS:
                await connection.execute(statement)
        finally:
            await connection.close()
            await second_connection.close()
        return [
            Course(course, self.students, _stream_numbers(course, step, self.assignments))
            for course, step, *_ in copies
        ]


async def create_course_template(
    bench_servers: BenchServers, students: int, assignments_per_course: int = 1
) -> CourseTemplate:
    """Create a course with one grade per student and assignment, and as many mixed commands."""
    course = Course(TEMPLATE_COURSE, students, _stream_numbers(TEMPLATE_COURSE, FIRST_STEP, assignments_per_course))
    url = bench_servers.new_database()
    connection = await asyncpg.connect(url)
    try:
        # The course's stream takes the first number, then the assignments in order.
        alter_sequence = (
            f"alter sequence stream_number increment by {NUMBER_STEP} restart with {FIRST_STEP * NUMBER_STEP}"
        )
        await connection.execute(alter_sequence)
        setup_records = [
            build_record(command)
            for command in setup_commands(
                TEMPLATE_COURSE, students, list_assignment_ids(TEMPLATE_COURSE, assignments_per_course)
            )
        ]
        # One batch has one time, so that times never decrease among the copies.
        await decide(url, [*setup_records, *mixed_records([course], students * assignments_per_course)], COMMANDS_MAX)
        rows = await connection.fetch(READ_EVENTS), await connection.fetch(READ_VERDICTS)
    finally:
        await connection.close()
    bench_servers.drop_database(url)
    return CourseTemplate(students, assignments_per_course, *rows)


def _stream_numbers(course: int, step: int, assignments_per_course: int) -> dict[int, int]:
    """Return stream numbers by assignment."""
    return {course * 100 + index: (step + index + 1) * NUMBER_STEP for index in range(assignments_per_course)}


def _copy_rows(count: int, assignments_per_course: int) -> list[tuple[int, int, int, int]]:
    """Build rows of table ``copy``: course, step (stream number divided by NUMBER_STEP), shard, turn in the shard."""
    rows: list[tuple[int, int, int, int]] = []
    turns: Counter[int] = Counter()
    courses_per_shard, course = -(-count // SHARD_COUNT), TEMPLATE_COURSE
    while len(rows) < count:
        course += 1
        shard = get_course_shard(course)
        if turns[shard] < courses_per_shard:
            step = FIRST_STEP + (len(rows) + 1) * (assignments_per_course + 1)
            rows.append((course, step, shard, turns[shard]))
            turns[shard] += 1
    return rows
