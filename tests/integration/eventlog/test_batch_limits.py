"""A batch is appended in transactions of limited size, each of complete commands, in record order."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from aiokafka import ConsumerRecord

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands import serialization
from services.commands.batch_limits import BatchLimits, give_way
from services.commands.processor import CommandProcessor
from services.eventlog.first_verdicts import BODIES_PER_FETCH
from services.eventlog.store import EventStore
from services.kafka.partitioning import get_course_shard
from services.runtime.failpoints import Failpoints
from tests.fixtures.canvas.adapter import World
from tests.integration.eventlog.test_complexity import CommandRecords

STUDENTS = 50
SOURCE = "commands"
DENSE = "select count(*) = max(version) as dense from event group by stream"
Record = ConsumerRecord[Any, Any]


class Class:
    """A class with an assignment that is not moderated; each command hides or posts every student's grade."""

    def __init__(self, students: int = STUDENTS) -> None:
        self.world, self.records = World(), CommandRecords()
        self.students = students
        self.watermarks = {get_course_shard(self.world.course_id, DEFAULT_SHARD_COUNT): -1}

    def to_records(self, commands: Sequence[Any]) -> list[Record]:
        return [self.records.to_record(self.world, command) for command in commands]

    def setup(self) -> list[Record]:
        rows = [
            {"user_id": self.world.user_id(f"s{n}"), "type": "StudentEnrollment", "state": "active"}
            for n in range(self.students)
        ]
        settings = {"name": "Essay", "points_possible": 10, "grading_type": "points", "moderated_grading": False}
        return self.to_records(
            [
                self.world.command("upsert_enrollments", {"enrollments": rows}),
                self.world.command("configure_assignment", settings, assignment="a"),
            ]
        )

    def grades(self) -> list[Record]:
        """Grade every student in the LMS, so that hiding and posting the grades causes live events."""
        grade = {"score": 7, "grade": "7", "grader_id": self.world.user_id("fg"), "graded_at": "2026-01-31T12:00:00Z"}
        return self.to_records(
            [
                self.world.command("record_submission", {**grade, "student_id": self.world.user_id(f"s{n}")}, "a")
                for n in range(self.students)
            ]
        )

    def toggles(self, count: int) -> list[Record]:
        types = ("hide_grades", "post_grades")
        return self.to_records([self.world.command(types[n % 2], {}, assignment="a") for n in range(1, count + 1)])


def build_request() -> bytes:
    """The value of a header http_request with long texts."""
    request = {
        "request_id": str(uuid.uuid4()), "session_id": None, "hostname": "lms.test", "http_method": "POST",
        "user_agent": "u" * 500, "client_ip": "192.0.2.1", "url": "https://lms.test/" + "p" * 500,
        "referrer": "r" * 500,
    }  # fmt: skip
    return json.dumps(request).encode()


@pytest.fixture
async def connection(database_url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connected = await asyncpg.connect(database_url)
    yield connected
    await connected.close()


async def build_processor(
    store: EventStore, limits: BatchLimits, pause: Callable[[], Awaitable[None]] = give_way
) -> CommandProcessor:
    return CommandProcessor(
        store, await store.current_incarnation(SOURCE), DEFAULT_SHARD_COUNT, limits=limits, give_way=pause
    )


async def process_all(processor: CommandProcessor, records: Sequence[Record], watermarks: dict[int, int]) -> None:
    """Process records, including deferred ones."""
    while records:
        records = (await processor.process(records, watermarks)).deferred


async def count_events(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    assert all(row["dense"] for row in await connection.fetch(DENSE))
    return int(await connection.fetchval("select count(*) from event where type like 'submission_%'"))


@pytest.mark.parametrize(
    ("limits", "processed"),
    [
        (BatchLimits(events_max=2 * STUDENTS + 1), 3),
        (BatchLimits(events_max=2 * STUDENTS), 2),
        (BatchLimits(events_max=1), 1),
        (BatchLimits(size_max=2 * STUDENTS * 350), 2),
    ],
    ids=["passed by the third", "reached by the second", "less than a command", "size"],
)
async def test_batch_ends_with_the_command_that_reaches_a_limit(
    connection: "asyncpg.Connection[asyncpg.Record]", limits: BatchLimits, processed: int
) -> None:
    course = Class()
    processor = await build_processor(EventStore(connection), limits)
    await process_all(processor, course.setup(), course.watermarks)
    toggles = course.toggles(4)
    result = await processor.process(toggles, course.watermarks)

    assert [record.offset for record in result.deferred] == [record.offset for record in toggles[processed:]]
    assert result.event_counts == [processed * STUDENTS]
    assert result.heaviest_partition == toggles[0].partition
    await process_all(processor, result.deferred, course.watermarks)
    assert await count_events(connection) == 4 * STUDENTS


async def test_dead_letters_beyond_the_limit_are_deferred_too(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    course = Class()
    processor = await build_processor(EventStore(connection), BatchLimits(events_max=1))
    await process_all(processor, course.setup(), course.watermarks)
    first, second = course.toggles(2)
    unreadable: Record = ConsumerRecord(
        "commands", first.partition, second.offset + 1, 1, 1, None, b"?", None, 0, 1, ()
    )
    result = await processor.process([first, second, unreadable], course.watermarks)
    assert (list(result.deferred), result.dead_letters.total()) == ([second, unreadable], 0)
    assert course.watermarks[first.partition] == first.offset
    await process_all(processor, result.deferred, course.watermarks)
    assert await connection.fetchval("select count(*) from dead_letter") == 1


async def test_keys_and_headers_of_dead_letters_count_toward_the_size_of_a_batch(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    course = Class()
    processor = await build_processor(EventStore(connection), BatchLimits(size_max=2_500))
    partition = next(iter(course.watermarks))
    headers = [("trace", b"h" * 500)]
    letters: list[Record] = [
        ConsumerRecord("commands", partition, n, 1, 1, b"k" * 500, b"?", None, 500, 1, headers) for n in range(4)
    ]

    result = await processor.process(letters, course.watermarks)

    assert (len(result.deferred), result.dead_letters.total()) == (1, 3)


async def test_requests_of_live_events_count_toward_the_size_of_a_batch(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    course = Class()
    processor = await build_processor(EventStore(connection), BatchLimits(size_max=STUDENTS * 2_500))
    await process_all(processor, [*course.setup(), *course.grades()], course.watermarks)
    post, hide = [replace(record, headers=[("http_request", build_request())]) for record in course.toggles(2)]

    result = await processor.process([post, hide], course.watermarks)

    assert [record.offset for record in result.deferred] == [hide.offset]
    sealed = "select metadata from event where metadata->'sealed' is not null"
    sizes = [len(row["metadata"]) for row in await connection.fetch(sealed)]
    assert len(sizes) == STUDENTS
    assert min(sizes) > 2_000


@pytest.mark.parametrize(
    ("limit", "value", "remedy"),
    [
        ("EVENTS_MAX", 1_099, "data.student_ids would make more than 1,099 events: send at most 10,000 students"),
        ("EVENTS_BYTES_MAX", 300_000, "too large to publish: send fewer or shorter items in one command"),
    ],
)
async def test_command_that_makes_too_much_is_refused_with_the_remedy(
    connection: "asyncpg.Connection[asyncpg.Record]",
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    value: int,
    remedy: str,
) -> None:
    course = Class(students=1_100)
    processor = await build_processor(EventStore(connection), BatchLimits())
    await process_all(processor, course.setup(), course.watermarks)
    monkeypatch.setattr(serialization, limit, value)
    # The first toggle posts every grade.
    await process_all(processor, course.toggles(2), course.watermarks)

    verdicts = await connection.fetch(
        "select body->>'reason' as reason, body->>'message' as message from verdict where body->>'status' = 'rejected'"
    )
    assert [row["reason"] for row in verdicts] == ["invalid_command"]
    assert remedy in verdicts[0]["message"]
    assert await count_events(connection) == 0


async def test_failed_transaction_keeps_earlier_ones_and_is_processed_again(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    course, failpoints = Class(), Failpoints()
    failpoints.configure("handler.log.append.before=raise@3")
    store = failpoints.arm(EventStore(connection), "handler.log")
    processor = await build_processor(store, BatchLimits(events_max=STUDENTS))
    setup, toggles = course.setup(), course.toggles(4)
    await processor.process(setup, course.watermarks)
    first = await processor.process(toggles, course.watermarks)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await processor.process(first.deferred, course.watermarks)

    assert course.watermarks[toggles[0].partition] == toggles[0].offset
    assert await count_events(connection) == STUDENTS
    await process_all(processor, first.deferred, course.watermarks)
    assert await count_events(connection) == 4 * STUDENTS


async def test_only_the_transaction_that_met_another_writer_is_decided_again(
    database_url: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    course, other = Class(students=1_100), await asyncpg.connect(database_url)
    other_processor = await build_processor(EventStore(other), BatchLimits())
    pauses = 0

    async def append_elsewhere() -> None:
        """Append a fact of the same course, from a partition that this batch does not read."""
        nonlocal pauses
        pauses += 1
        if pauses == 1:
            [record] = course.to_records([course.world.command("upsert_course", {"name": "Other"})])
            record.partition += 1
            await other_processor.process([record], {record.partition: -1})

    processor = await build_processor(EventStore(connection), BatchLimits(events_max=1_000), append_elsewhere)
    await processor.process(course.setup(), course.watermarks)
    records: Sequence[Record] = course.toggles(3)
    attempts = []
    while records:
        result = await processor.process(records, course.watermarks)
        attempts.append(result.attempts)
        records = result.deferred
    await other.close()

    assert attempts == [2, 1, 1]
    assert await count_events(connection) == 3 * 1_100


async def test_event_loop_continues_while_a_large_command_is_decided(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    course, pauses = Class(students=4_000), 0

    async def count_pauses() -> None:
        nonlocal pauses
        pauses += 1

    processor = await build_processor(EventStore(connection), BatchLimits(), count_pauses)
    await processor.process(course.setup(), course.watermarks)
    pauses = 0
    await processor.process(course.toggles(1), course.watermarks)
    assert pauses >= 4


async def test_kept_verdicts_of_repeated_commands_are_read_up_to_the_size_of_a_transaction(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    commands, store = CommandRecords(), EventStore(connection)
    sent = commands.setup_records()
    partitions = {record.partition for record in sent}
    watermarks = dict.fromkeys(partitions, -1)
    await process_all(await build_processor(store, BatchLimits()), sent, watermarks)
    rows = await connection.fetch("select root_account, command_id from decided_command")
    keys = [(str(row["command_id"]), row["root_account"]) for row in rows]
    assert len(keys) > 2 * BODIES_PER_FETCH
    first_verdicts = (await store.read_batch_context(sorted(partitions), [key[0] for key in keys])).first_verdicts
    await store.load_first_verdicts(first_verdicts, keys, size_max=1)
    assert [key for key in keys if first_verdicts[key].is_loaded] == keys[:BODIES_PER_FETCH]

    again = [commands.repeat(record) for record in sent]
    result = await (await build_processor(store, BatchLimits(size_max=1))).process(again, watermarks)
    assert len(result.deferred) == len(again) - 1
    processor = await build_processor(store, BatchLimits(size_max=5_000))
    while result.deferred:
        result = await processor.process(result.deferred, watermarks)
    assert await connection.fetchval("select count(*) from decided_command") == 2 * len(sent)
    duplicates = "select count(*) from verdict where body->>'duplicate' = 'true'"
    assert await connection.fetchval(duplicates) == len(sent)
