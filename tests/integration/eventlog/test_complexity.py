"""The cost of a batch does not grow with the log. It is measured in blocks that PostgreSQL reads, not in time.

Tables are never analyzed or vacuumed here, and plans are kept from when the log was empty.
"""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog.append_batch import AppendBatch
from services.eventlog.feeds import Feed, FeedReader
from services.eventlog.store import EventStore
from services.kafka.partitioning import ALL_SHARDS, get_course_shard, group_by_partition
from tests.fixtures.canvas.adapter import World
from tests.fixtures.process_runner import Json

COURSES = 24
BATCHES = 300
# Then PostgreSQL has chosen between a plan for the values and one for all values, with next to nothing in the tables.
EARLY_BATCHES = 10
COUNTS = """
select coalesce(sum(pg_stat_get_xact_blocks_fetched(c.oid)), 0)::bigint as blocks,
       coalesce(sum(pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)), 0)::bigint as dead
from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i')
"""
TABLES = "select oid::regclass::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class CommandRecords:
    """Records of grades in many courses, as a consumer receives them."""

    def __init__(self) -> None:
        self.worlds = [World() for _ in range(COURSES)]
        self.scores = itertools.count()
        self.next_offsets: Counter[int] = Counter()

    def to_record(self, world: World, command: Json) -> ConsumerRecord[Any, Any]:
        partition = get_course_shard(world.course_id)
        value = json.dumps(command).encode()
        offset = self.next_offsets[partition]
        self.next_offsets[partition] += 1
        return ConsumerRecord("commands", partition, offset, 1, 1, None, value, None, 0, len(value), ())

    def repeat(self, record: ConsumerRecord[Any, Any]) -> ConsumerRecord[Any, Any]:
        """The same command once more, as its producer would send it again."""
        offset = self.next_offsets[record.partition]
        self.next_offsets[record.partition] += 1
        return dataclasses.replace(record, offset=offset)

    def setup_records(self) -> list[ConsumerRecord[Any, Any]]:
        people = [("fg", "teacher"), ("ta", "ta"), ("student", "student")]
        steps: list[Json] = [{"do": "enroll", "user": user, "role": role} for user, role in people]
        settings = {"grader_count": 2, "final_grader": "fg", "points_possible": 100, "grading_type": "points"}
        steps.append({"do": "assignment", "id": "a", "moderated_grading": True, **settings})
        return [
            self.to_record(world, command) for world in self.worlds for step in steps for command in world.given(step)
        ]

    def grade_records(self, courses: int) -> list[ConsumerRecord[Any, Any]]:
        grade = {"operation": "grade", "actor": "ta", "assignment": "a", "student": "student"}
        return [
            self.to_record(world, world.operation({**grade, "score": next(self.scores) % 100}))
            for world in self.worlds[:courses]
        ]


def get_watermarks(records: Iterable[ConsumerRecord[Any, Any]]) -> dict[int, int]:
    """Return the watermarks before records with consecutive offsets."""
    return {partition: first[0].offset - 1 for partition, first in group_by_partition(records).items()}


class Workload:
    """The work of a handler and a relay over one connection."""

    def __init__(self, connection: Connection, source: int, commands: CommandRecords) -> None:
        self.connection = connection
        self.log = EventStore(connection)
        self.processor = CommandProcessor(self.log, source, DEFAULT_SHARD_COUNT)
        self.feed_reader = FeedReader(connection)
        self.source = source
        self.commands = commands

    async def process_grades(self, courses: int) -> None:
        records = self.commands.grade_records(courses)
        await self.processor.process(records, get_watermarks(records))

    async def query_offsets(self) -> None:
        partition = get_course_shard(self.commands.worlds[0].course_id)
        watermark = (await self.log.watermarks(self.source, [partition]))[partition]
        assert len(await self.log.append_times(self.source, partition, watermark - 5, watermark)) == 6

    async def read_feeds(self) -> None:
        shards = list(ALL_SHARDS)
        heads = await self.feed_reader.heads(shards)
        used = len({get_course_shard(w.course_id) for w in self.commands.worlds})
        kinds: tuple[Feed, ...] = ("events", "verdicts")
        for series in kinds:
            after = [max(head - 5, 0) for head in heads[series]]
            assert len(await self.feed_reader.read(series, shards, after, heads[series], 1_000, 1 << 20)) == 5 * used

    async def measure_costs(self) -> dict[str, int]:
        """Count the blocks that each kind of work fetches with a warm cache."""
        await self.process_grades(COURSES)
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "a batch of one command": lambda: self.process_grades(1),
            "a batch over all shards": lambda: self.process_grades(COURSES),
            "places of redelivered records": self.query_offsets,
            "what waits for the relay": self.read_feeds,
        }
        return {name: await self.count_blocks(work) for name, work in kinds.items()}

    async def count_blocks(self, work: Callable[[], Awaitable[object]]) -> int:
        """Count the blocks that work fetches, inside one transaction, for which PostgreSQL counts."""
        async with self.connection.transaction(isolation="repeatable_read"):
            before = await self.connection.fetchrow(COUNTS)
            await work()
            after = await self.connection.fetchrow(COUNTS)
        assert before is not None
        assert after is not None
        assert after["dead"] == before["dead"], (
            "rows that are updated for each batch are what an old snapshot makes slow"
        )
        return int(after["blocks"] - before["blocks"])


@pytest.fixture
async def connect(database_url: str) -> AsyncIterator[Callable[[], Awaitable[Connection]]]:
    opened: list[Connection] = []

    async def open_connection() -> Connection:
        opened.append(await asyncpg.connect(database_url, server_settings={"jit": "off"}))
        return opened[-1]

    yield open_connection
    for connection in opened:
        await connection.close()


@pytest.mark.parametrize("old_snapshot", [False, True], ids=["never analyzed", "with an old snapshot open"])
async def test_batch_cost_does_not_grow_with_the_log(
    connect: Callable[[], Awaitable[Connection]], old_snapshot: bool
) -> None:
    connection, other = await connect(), await connect()
    for (table,) in await connection.fetch(TABLES):
        await connection.execute(f"alter table {table} set (autovacuum_enabled = off)")
    if old_snapshot:
        await other.execute("begin isolation level repeatable read; select count(*) from event")
    commands = CommandRecords()
    work = Workload(connection, await EventStore(connection).current_incarnation("commands"), commands)
    records = commands.setup_records()
    await work.processor.process(records, get_watermarks(records))
    for _ in range(EARLY_BATCHES):
        early = await work.measure_costs()
    # A session that starts plans its queries, and that reads a block of each index: compared with one of its kind.
    started_early = await Workload(await connect(), work.source, commands).measure_costs()
    for _ in range(BATCHES):
        await work.process_grades(COURSES)
    late = await work.measure_costs()
    # Plans of a process that starts now, with nothing known of what is in the tables by now.
    started_late = await Workload(await connect(), work.source, commands).measure_costs()
    for before, after in ((early, late), (started_early, started_late)):
        dearer = {name: (before[name], after[name]) for name in before if after[name] > before[name] * 3 // 2}
        assert not dearer, dearer


async def test_cost_per_published_grade_does_not_grow_with_the_publication(
    connect: Callable[[], Awaitable[Connection]],
) -> None:
    connection = await connect()
    log = EventStore(connection)
    source = await log.current_incarnation("commands")
    work = Workload(connection, source, CommandRecords())
    await connection.execute("insert into stream values (1, 1, 1, null, 0)")
    versions, costs = itertools.count(1), []
    for grades in (1_000, 4_000):
        context = await log.read_batch_context([0], [])
        batch = AppendBatch(source, context.decided_at, context.heads, {})
        for _ in range(grades):
            batch.add_event(0, True, 1, next(versions), "grade_published", "{}", "{}")
        costs.append(await work.count_blocks(lambda batch=batch: log.append(batch)) / grades)  # type: ignore[misc]

    assert costs[1] < costs[0] * 1.5, costs
