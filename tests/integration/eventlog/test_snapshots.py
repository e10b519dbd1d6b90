"""A handler reads a large assignment from its snapshot, decides as if it had read all events, and erasures reach it."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from schemas.topics import DEFAULT_SHARD_COUNT
from services.commands.processor import CommandProcessor
from services.eventlog import snapshots
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.snapshot_verification import verify_snapshots
from services.eventlog.store import EventStore
from services.kafka.partitioning import get_course_shard
from services.moderation.assignment import Assignment
from services.moderation.state_document import state_document
from tests.integration.eventlog.test_erasure import (
    ANN,
    ANNS_TEXTS,
    ASSIGNMENT,
    BENS_TEXTS,
    COURSE,
    TA,
    Course,
    assert_absent,
    course,
)

__all__ = ["course"]
SNAPSHOT_EVENTS = 3
LAST_POSITION = 1 << 40
OTHER_COURSE = COURSE + 1
SNAPSHOTS = "select version from snapshot"

StartHandler = Callable[[], Awaitable[CommandProcessor]]


@pytest.fixture
def start_handler(course: Course) -> StartHandler:
    """Give the course's records to a handler that has just started."""

    async def start() -> CommandProcessor:
        log = EventStore(course.connection)
        source = await log.current_incarnation("commands")
        course.processor = CommandProcessor(log, source, DEFAULT_SHARD_COUNT, snapshot_events=SNAPSHOT_EVENTS)
        return course.processor

    return start


def grade(course: Course, score: float, **more: Any) -> Any:
    return course.command("record_provisional_grade", {"student_id": ANN, "score": score, **more}, TA)


def cached_assignment(processor: CommandProcessor) -> Assignment:
    return processor.state_cache.assignments[1, ASSIGNMENT][0]


async def comment(course: Course) -> None:
    """Record another comment, which is one event."""
    data = {"student_id": ANN, "author_id": TA, "comment": f"Comment {course.next_offset}"}
    (verdict,) = await course.process(course.command("record_submission_comment", data))
    assert (verdict["status"], verdict["events"]) == ("accepted", 1)


async def count_events_read(course: Course, handler: CommandProcessor) -> int:
    """Process a command, and return how many events of the assignment were applied to read it."""
    applied = 0
    apply_stored = handler.state_cache.apply_stored

    def counted(stream: Any, stored_event: Any) -> None:
        nonlocal applied
        applied += stream.assignment is not None
        apply_stored(stream, stored_event)

    handler.state_cache.apply_stored = counted  # type: ignore[method-assign]
    await comment(course)
    return applied


async def test_second_handler_reads_the_events_after_the_snapshot_only(
    course: Course, start_handler: StartHandler
) -> None:
    first_read = await count_events_read(course, await start_handler())
    versions = await course.connection.fetch(SNAPSHOTS)
    second_read = await count_events_read(course, await start_handler())
    state = (await course.state())["document"]
    cached_course, _ = course.processor.state_cache.courses[1, 1001]

    assert first_read >= SNAPSHOT_EVENTS
    assert [row["version"] for row in versions] == [first_read]
    assert second_read == 1
    assert state_document(cached_course, cached_assignment(course.processor)) == state


async def test_snapshot_is_replaced_when_as_many_events_follow_it(course: Course, start_handler: StartHandler) -> None:
    await start_handler()
    await comment(course)
    first = await course.connection.fetchval(SNAPSHOTS)
    for _ in range(SNAPSHOT_EVENTS - 2):
        await comment(course)
    await start_handler()
    await comment(course)
    unchanged = await course.connection.fetchval(SNAPSHOTS)
    read = await count_events_read(course, await start_handler())

    assert unchanged == first
    # None is made of another one.
    assert read == first + SNAPSHOT_EVENTS
    assert await course.connection.fetchval(SNAPSHOTS) == first + SNAPSHOT_EVENTS


async def test_command_that_names_a_large_assignment_of_another_course_is_decided(
    course: Course, start_handler: StartHandler
) -> None:
    """Its course is in another shard, whose head the batch has not read."""
    await start_handler()
    record = course.command("record_provisional_grade", {"student_id": ANN, "score": 5}, TA)
    assert record.value is not None
    value = record.value.replace(f'"course_id": "{COURSE}"'.encode(), f'"course_id": "{OTHER_COURSE}"'.encode())
    (verdict,) = await course.process(replace(record, value=value))

    assert get_course_shard(OTHER_COURSE) != get_course_shard(COURSE)
    assert (verdict["status"], verdict["reason"]) == ("rejected", "not_found")
    assert await course.connection.fetch(SNAPSHOTS) == []


async def test_small_assignment_has_no_snapshot(course: Course) -> None:
    log = EventStore(course.connection)
    source = await log.current_incarnation("commands")
    course.processor = CommandProcessor(log, source, DEFAULT_SHARD_COUNT, snapshot_events=1_000)
    await comment(course)

    assert await course.connection.fetch(SNAPSHOTS) == []


@pytest.mark.parametrize(
    "change",
    [
        "update snapshot set form = '\\x00'",
        "update snapshot set last_event = '\\x00'",
        "update snapshot set state = '\\xc0'",
        "update snapshot set texts = '\\xc0'",
        # One bit of a score, a name or an id: still a state, but another one.
        "update snapshot set state = set_bit(state, length(state), 1 - get_bit(state, length(state)))",
        # An older copy of the log was restored beside newer snapshots.
        "update snapshot set version = version + 1000",
    ],
)
async def test_snapshot_that_cannot_be_used_is_left_aside_and_replaced(
    course: Course, start_handler: StartHandler, change: str
) -> None:
    await count_events_read(course, await start_handler())
    before = (await course.state())["document"]["version"]
    await course.connection.execute(change)
    read = await count_events_read(course, await start_handler())
    again = await count_events_read(course, await start_handler())

    assert (read, again) == (before, 1)


async def test_code_that_changes_states_does_not_read_older_snapshots(
    course: Course, start_handler: StartHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await comment(course)
    await count_events_read(course, await start_handler())
    version = (await course.state())["document"]["version"]
    monkeypatch.setattr(snapshots, "form_id", lambda: b"another version of the code")

    assert await count_events_read(course, await start_handler()) == version


async def test_erased_person_is_erased_from_snapshots(course: Course, start_handler: StartHandler) -> None:
    await start_handler()
    await comment(course)
    stored_before = await course.stored_texts()
    await course.erase(ANN)
    handler = await start_handler()
    await comment(course)
    restored = cached_assignment(handler)
    (grade,) = restored.grades_by_student[ANN]

    assert_absent((*ANNS_TEXTS, *BENS_TEXTS), stored_before + await course.stored_texts())
    assert (grade.rubric_assessment, [each.comment for each in grade.comments]) == (None, [None])
    assert BENS_TEXTS[1] in repr(restored)
    assert ANNS_TEXTS[3] not in repr(restored)


async def test_texts_that_were_read_before_an_erasure_are_not_encrypted_with_the_key_made_after_it(
    course: Course, start_handler: StartHandler
) -> None:
    """The batch that reads the state erases the person, and then stores a new comment about them."""
    await start_handler()
    verdicts = await course.process(
        grade(course, 8),
        course.command("erase_person", {"user_id": ANN}),
        course.command("record_submission_comment", {"student_id": ANN, "author_id": TA, "comment": "New"}),
    )
    handler = await start_handler()
    await comment(course)

    assert [verdict["status"] for verdict in verdicts] == ["accepted"] * 3
    assert re.findall("|".join(ANNS_TEXTS), repr(cached_assignment(handler))) == []


async def test_verification_finds_a_snapshot_that_differs_from_its_events(
    course: Course, start_handler: StartHandler
) -> None:
    await start_handler()
    await comment(course)
    before = [finding.result async for finding in verify_snapshots(course.connection)]
    encryption_keys = EncryptionKeys(course.connection)
    stream = await course.connection.fetchval("select stream from snapshot")
    restored = await snapshots.read_snapshot(course.connection, encryption_keys, stream)
    assert restored is not None
    # The same number, but written differently.
    restored.assignment.grades_by_student[ANN][0].score = Decimal("7.0")
    wrong = snapshots.make_snapshot(restored.assignment, LAST_POSITION, 0)
    await snapshots.write_snapshot(course.connection, encryption_keys, wrong)
    after = [finding.result async for finding in verify_snapshots(course.connection)]
    await course.connection.execute("update snapshot set large_event_bytes = 1")
    damaged = [finding.result async for finding in verify_snapshots(course.connection)]
    await course.connection.execute("update snapshot set form = ''")
    unused = [finding.result async for finding in verify_snapshots(course.connection)]

    assert (before, after, damaged, unused) == (["equal"], ["different"], ["damaged"], ["unused"])


async def test_failing_write_of_a_snapshot_fails_no_command(
    course: Course,
    start_handler: StartHandler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(snapshots, "WRITE", "insert into no_such_table values ($1)")
    await start_handler()
    await comment(course)
    await comment(course)

    assert await course.connection.fetch(SNAPSHOTS) == []
    assert "no snapshot of stream" in caplog.text


async def test_snapshot_that_postgresql_refuses_to_read_fails_no_command(
    course: Course, start_handler: StartHandler, caplog: pytest.LogCaptureFixture
) -> None:
    """The migration that adds the table may not have run yet."""
    await course.connection.execute("drop table snapshot")
    read = await count_events_read(course, await start_handler())

    assert read >= SNAPSHOT_EVENTS
    assert "UndefinedTableError" in caplog.text


async def test_batch_under_locks_neither_reads_nor_makes_a_snapshot(
    course: Course, start_handler: StartHandler
) -> None:
    await comment(course)
    await start_handler()
    async with course.connection.transaction():
        read = await count_events_read(course, course.processor)

    assert read >= SNAPSHOT_EVENTS
    assert await course.connection.fetch(SNAPSHOTS) == []


async def test_snapshots_can_be_deleted_and_read_by_handlers_only(course: Course, start_handler: StartHandler) -> None:
    await start_handler()
    await comment(course)
    grants = await course.connection.fetch(
        "select grantee, string_agg(privilege_type, ',' order by privilege_type)"
        " from information_schema.role_table_grants"
        " where table_name = 'snapshot' and grantee like 'moderation\\_%' group by grantee"
    )
    await course.connection.execute("truncate snapshot")

    assert [tuple(row) for row in grants] == [("moderation_writer", "INSERT,SELECT,UPDATE")]
    await start_handler()
    await comment(course)
    assert len(await course.connection.fetch(SNAPSHOTS)) == 1
