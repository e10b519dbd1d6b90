"""Lists the assignments that a user moderates or audits, the newest first, without their provisional grades. Read-only.

What is not needed to decide who may see an assignment, and in which state it is, is not read.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from services.eventlog.aggregates import EVENTS_PER_YIELD, apply_assignment_event, apply_course_event, new_assignment
from services.eventlog.personal_data import unseal_events
from services.eventlog.postgres import Pool
from services.eventlog.schedules import find_refusals
from services.eventlog.store import STREAMS, Stream
from services.eventlog.stored_events import StoredEvent, as_stored_event
from services.eventlog.stream_reader import StreamReader
from services.moderation.assignment import Assignment
from services.moderation.course import Course
from services.moderation.visibility import may_moderate, reads_moderation

LIST_SECONDS_MAX = 3.0
BATCHES_MAX = 5
"""How many times candidates are read for a page: most users' rights still hold, so that the first time is enough."""
NEWEST = 2**63 - 1
# $1 a root account, $2 a user's id as text, $3 stream number to continue below, $4 limit. Assignments that ever named
# the user as their final grader, and those of courses that ever stated a role of the user in the account. Each half is
# found by the user's id in an index: PostgreSQL would use none for a condition that joins the halves with "or". It has
# no statistics of expressions in partial indexes: "offset 0" keeps it from reading all streams to join a few.
CANDIDATES = """
with named as (
    select s.*
    from (select distinct e.stream from event e
          where e.type in ('assignment_created', 'assignment_updated') and e.stream < $3
            and coalesce(e.data #>> '{payload,final_grader_id,1}', e.data #>> '{payload,final_grader_id}') = $2) n
    cross join lateral (select t.number, t.root_account, t.course, t.assignment, t.shard
                        from stream t where t.number = n.stream offset 0) s
    where s.root_account = $1 order by s.number desc limit $4
), administered as (
    select distinct c.course from event e
    cross join lateral (select t.root_account, t.course from stream t where t.number = e.stream offset 0) c
    where e.type = 'admins_updated' and admin_user_ids(e.data) @> array[$2::text] and c.root_account = $1
), of_courses as (
    select s.number, s.root_account, s.course, s.assignment, s.shard
    from administered a join stream s on s.root_account = $1 and s.course = a.course and s.assignment is not null
    where s.number < $3 order by s.number desc limit $4
)
select * from (table named union table of_courses) found order by number desc limit $4
"""
# $1 streams of assignments. Each type is written out, so that PostgreSQL reads the indexes of these types alone.
ASSIGNMENT_EVENTS = """
select e.stream, e.position, e.version, e.type, e.type_version, e.data, e.metadata, e.recorded_at
from event e where e.stream = any($1::bigint[]) and e.type in ('assignment_created', 'assignment_updated')
union all
select e.stream, e.position, e.version, e.type, e.type_version, e.data, e.metadata, e.recorded_at
from event e where e.stream = any($1::bigint[])
  and e.type in ('publication_scheduled', 'publication_schedule_cancelled', 'grades_posted')
order by 1, 3
"""
COURSE_EVENT_TYPES = ("course_updated", "enrollments_updated", "admins_updated")


class ListTooLong(Exception):
    """The assignments were not found in time."""


@dataclass(frozen=True, slots=True)
class ModeratedAssignment:
    """An assignment without its students' work, and how many of its students the user sees.

    ``refused_with``: the reason if its scheduled publication was refused.
    """

    course: Course
    assignment: Assignment
    student_count: int
    refused_with: str | None


@dataclass(frozen=True, slots=True)
class ModeratedAssignments:
    """One page; ``next_before``: the stream number to continue below, None after the last page."""

    rows: list[ModeratedAssignment]
    next_before: int | None


async def list_moderated_assignments(
    pool: Pool, root_account: int, user_id: int, before_stream_number: int | None, rows_max: int
) -> ModeratedAssignments:
    """Return the assignments whose moderation the user may read now. Raises ListTooLong."""
    rows: list[ModeratedAssignment] = []
    courses: dict[int, Course] = {}
    before = before_stream_number
    for _ in range(BATCHES_MAX):
        limit = rows_max - len(rows)
        streams = await _find_candidates(pool, root_account, user_id, before, limit)
        rows += await _load_listed(pool, streams, courses, user_id)
        before = streams[-1].number if len(streams) == limit else None
        if before is None or len(rows) == rows_max:
            break
    return ModeratedAssignments(rows, before)


async def _find_candidates(pool: Pool, root_account: int, user_id: int, before: int | None, limit: int) -> list[Stream]:
    # Connecting may also take too long, which is another problem.
    async with pool.acquire() as connection:
        try:
            rows = await connection.fetch(
                CANDIDATES, root_account, str(user_id), before or NEWEST, limit, timeout=LIST_SECONDS_MAX
            )
        except (TimeoutError, asyncpg.QueryCanceledError):
            raise ListTooLong from None
    return [Stream(*row) for row in rows]


async def _load_listed(
    pool: Pool, streams: Sequence[Stream], courses: dict[int, Course], user_id: int
) -> list[ModeratedAssignment]:
    """Return the assignments of the streams whose moderation the user may read; add their courses to ``courses``."""
    reader = StreamReader(pool)
    rows = await pool.fetch(ASSIGNMENT_EVENTS, [stream.number for stream in streams])
    by_stream: defaultdict[int, list[StoredEvent]] = defaultdict(list)
    for event in await unseal_events(reader.encryption_keys, list(map(as_stored_event, rows))):
        by_stream[event.stream].append(event)
    await _load_courses(reader, [stream for stream in streams if stream.course not in courses], courses)
    readable = []
    for stream in streams:
        course, events = courses[stream.course], by_stream[stream.number]
        assignment = new_assignment(stream, events[0])
        for event in events:
            apply_assignment_event(assignment, event)
        if assignment.deleted or not assignment.moderated_grading or not reads_moderation(course, assignment, user_id):
            continue
        readable.append((course, assignment))
    refusals = await find_refusals(pool, [assignment for _, assignment in readable])
    return [
        ModeratedAssignment(
            course,
            assignment,
            await count_students(course, assignment, user_id),
            None if (schedule := assignment.scheduled_publication) is None else refusals.get(schedule.schedule_id),
        )
        for course, assignment in readable
    ]


async def _load_courses(reader: StreamReader, streams: Sequence[Stream], courses: dict[int, Course]) -> None:
    """Add the courses of assignments, with names, roles and enrolments, but without people."""
    wanted = sorted({(stream.root_account, stream.course) for stream in streams})
    accounts, ids = [account for account, _ in wanted], [course for _, course in wanted]
    for row in await reader.connection.fetch(STREAMS, [], [], accounts, ids):
        stream = Stream(*row)
        course = courses[stream.course] = Course(stream.root_account, stream.course)
        async with contextlib.aclosing(reader.pages({stream.number: 0}, types=COURSE_EVENT_TYPES)) as pages:
            async for page in pages:
                for number, event in enumerate(page, 1):
                    apply_course_event(course, event)
                    if number % EVENTS_PER_YIELD == 0:
                        await asyncio.sleep(0)


async def count_students(course: Course, assignment: Assignment, user_id: int) -> int:
    """Return how many students of an assignment the user sees. Other pages are served meanwhile."""
    return await asyncio.to_thread(_count_students, course, assignment, user_id)


def _count_students(course: Course, assignment: Assignment, user_id: int) -> int:
    sections = course.visible_sections(user_id) if may_moderate(course, assignment, user_id) else None
    return sum(
        course.is_visible_student(student, sections) and assignment.is_assigned(course, student)
        for student in course.student_ordinals
    )
