"""Reads streams, verdicts and past states. Read-only."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.personal_data import unseal_events
from services.eventlog.postgres import Pool
from services.eventlog.store import STREAMS, Stream
from services.eventlog.stored_events import UNLIMITED, StoredEvent, as_stored_event, read_pages

# $1 streams, $2 versions.
HAS_EVENTS_AFTER = """
select k.stream from unnest($1::bigint[], $2::integer[]) k(stream, version)
where exists (select from event e where e.stream = k.stream and e.version > k.version)
"""
# $1 root account, $2 course.
COURSE_HEAD = """
select e.position
from stream s
cross join lateral (select e.position from event e where e.stream = s.number order by e.version desc limit 1) e
where s.root_account = $1 and s.course = $2 and s.assignment is null
"""
# $1 stream, $2-$3 versions: after, up to.
EVENTS_PAGE = """
select e.stream, e.position, e.version, e.type, e.type_version, e.data, e.metadata, e.recorded_at
from event e where e.stream = $1 and e.version > $2 and e.version <= $3 order by e.version
"""
# $1 stream, $2 student, $3 the last version.
EVENTS_OF_STUDENT = """
select e.stream, e.position, e.version, e.type, e.type_version, e.data, e.metadata, e.recorded_at,
       e.shard, e.live_number
from event e where e.stream = $1 and e.version <= $3 and (e.data->>'student_id' = $2 or e.type = 'grades_posted')
order by e.version
"""
POSITION_AT_VERSION = "select e.position from event e where e.stream = $1 and e.version = $2"
# $1 streams, $2 a time. recorded_at never decreases within a shard, so that a time corresponds to one position. It is
# read before a batch is decided: what is appended a moment later may be of a time that was asked for before.
POSITION_AT_TIME = """
select case when $2::timestamptz <= clock_timestamp()
       then (select max(e.position) from event e where e.stream = any($1::bigint[]) and e.recorded_at <= $2) end
"""
# $1 topic, $2-$3 partitions and offsets, in the topic's current incarnation. A lateral join reads the index, regardless
# of the planner's statistics.
VERDICTS_AT = """
select k.partition, k."offset", v.body, v.metadata, v.root_account
from unnest($2::integer[], $3::bigint[]) k(partition, "offset")
cross join (select number from source where topic = $1 order by number desc limit 1) s
cross join lateral (select v.body, v.metadata, v.root_account from verdict v
                    where v.source = s.number and v.partition = k.partition and v."offset" = k."offset"
                      and v.body is not null) v
"""
FIRST_VERDICT = """
select 0, 0::bigint, v.body, v.metadata, v.root_account
from verdict v where v.command_id = $1 and v.root_account = $2 and v.first
"""
COURSES_BY_SIS_ID = """
select distinct s.course from event e join stream s on s.number = e.stream
where e.type = 'course_updated'
and hashtextextended(e.data #>> '{payload,sis_source_id,1}', 0) = hashtextextended($2, 0)
and e.data #>> '{payload,sis_source_id,1}' = $2
and s.root_account = $1 and s.assignment is null
"""
ASSIGNMENTS_OF_COURSE = """
select assignment from stream where root_account = $1 and course = $2 and assignment is not null order by assignment
"""
WATERMARK = """
select watermark(s.number, $2) from (select number from source where topic = $1 order by number desc limit 1) s
"""


class VerdictArchived(Exception):
    """The command was decided, but its verdict has been archived. Argument: the command id."""

    def __str__(self) -> str:
        return f"command {self.args[0]} was decided, but its verdict is archived"


class StudentEvent(NamedTuple):
    """An event with its shard, and its number on live-events if it is published there."""

    event: StoredEvent
    shard: int
    live_number: int | None


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """A verdict's body and metadata, both JSON; ``root_account`` is 0 if the command's could not be parsed."""

    partition: int
    offset: int
    body: str
    metadata: str
    root_account: int


class StreamReader:
    """Reads over one connection or pool. Every method may raise POSTGRES_ERRORS.

    It must read the primary: a replica may lag behind a verdict that a client has seen. ``page_limit``: how many pages
    of events may be in memory at once.
    """

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record] | Pool", page_limit: asyncio.Semaphore | None = None
    ) -> None:
        self.connection = connection
        self._page_limit = page_limit or UNLIMITED
        self.encryption_keys = EncryptionKeys(connection)

    async def streams(self, root_account: int, course: int | None, assignment: int | None) -> list[Stream]:
        """Return the existing streams of a course and an assignment."""
        assignments = [] if assignment is None else [assignment]
        courses = [] if course is None else [course]
        accounts = [root_account]
        rows = await self.connection.fetch(
            STREAMS, accounts * len(assignments), assignments, accounts * len(courses), courses
        )
        return [Stream(*row) for row in rows]

    def pages(
        self, versions: Mapping[int, int], last_position: int | None = None, types: Sequence[str] | None = None
    ) -> AsyncGenerator[list[StoredEvent], None]:
        """Yield events of a course's streams after a version of each in pages, see :func:`read_pages`.

        Close the generator (``contextlib.aclosing``).
        """
        return read_pages(self.connection, self.encryption_keys, versions, last_position, types, self._page_limit)

    async def changed_streams(self, versions: Mapping[int, int]) -> set[int]:
        """Return the streams that have events after a version of each."""
        return {
            row[0] for row in await self.connection.fetch(HAS_EVENTS_AFTER, list(versions), list(versions.values()))
        }

    async def course_head(self, root_account: int, course: int) -> int:
        """Return the position of the last event of a course's own stream, 0 before the first."""
        position: int | None = await self.connection.fetchval(COURSE_HEAD, root_account, course)
        return position or 0

    async def events_page(self, stream: int, after_version: int, last_version: int) -> list[StoredEvent]:
        """Return the events of a stream with versions above ``after_version`` up to ``last_version``."""
        return await self._unseal(await self.connection.fetch(EVENTS_PAGE, stream, after_version, last_version))

    async def events_of_student(self, stream: int, student_id: int, last_version: int) -> list[StudentEvent]:
        """Return an assignment's events about a student and its publication, up to a version."""
        rows = await self.connection.fetch(EVENTS_OF_STUDENT, stream, str(student_id), last_version)
        events = await self._unseal([row[:-2] for row in rows])
        return [StudentEvent(event, *row[-2:]) for event, row in zip(events, rows, strict=True)]

    async def _unseal(self, rows: Sequence[asyncpg.Record | tuple[Any, ...]]) -> list[StoredEvent]:
        return await unseal_events(self.encryption_keys, list(map(as_stored_event, rows)))

    async def position_at_version(self, stream: int, version: int) -> int | None:
        """Return the position of a stream's event of that version; None in the future."""
        position: int | None = await self.connection.fetchval(POSITION_AT_VERSION, stream, version)
        return position

    async def position_at_time(self, streams: Sequence[int], at: datetime) -> int | None:
        """Return the last position of the streams at a time; None before their first event and in the future."""
        position: int | None = await self.connection.fetchval(POSITION_AT_TIME, streams, at)
        return position

    async def verdicts_at(self, topic: str, coordinates: Sequence[tuple[int, int]]) -> list[StoredVerdict]:
        """Return the verdicts of records given by (partition, offset); skip records without one, and archived ones."""
        partitions, offsets = [place[0] for place in coordinates], [place[1] for place in coordinates]
        rows = await self.connection.fetch(VERDICTS_AT, topic, partitions, offsets)
        return [StoredVerdict(*row) for row in rows]

    async def first_verdict(self, command_id: str, root_account: int) -> StoredVerdict | None:
        """Return the verdict that settled a command id. Raises VerdictArchived."""
        row = await self.connection.fetchrow(FIRST_VERDICT, command_id, root_account)
        if row is not None and row[2] is None:
            raise VerdictArchived(command_id)
        return None if row is None else StoredVerdict(*row)

    async def find_courses_by_sis_id(self, root_account: int, sis_id: str) -> list[int]:
        """Return the courses that ever had this SIS id."""
        return [row[0] for row in await self.connection.fetch(COURSES_BY_SIS_ID, root_account, sis_id)]

    async def list_assignment_ids(self, root_account: int, course: int) -> list[int]:
        """Return the ids of a course's assignments, ascending, including deleted ones."""
        return [row[0] for row in await self.connection.fetch(ASSIGNMENTS_OF_COURSE, root_account, course)]

    async def watermark(self, topic: str, partition: int) -> int:
        """Return the highest processed offset of a partition, -1 without one."""
        offset: int | None = await self.connection.fetchval(WATERMARK, topic, partition)
        return -1 if offset is None else offset
