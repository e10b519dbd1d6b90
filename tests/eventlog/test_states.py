"""What a subscriber holds in memory is bounded, and what it forgot is read again."""

import asyncpg
import pytest

from services.commands import processor
from services.commands.processor import CommandProcessor
from services.eventlog.store import EventStore
from tests.eventlog.test_cost import COURSES, Commands

ENTRIES_MAX = 45
READ_AT_ONCE_MAX = 5
TRANSACTIONS = "select count(distinct xmin::text) from verdict"
VERSIONS = "select version from event where type = 'provisional_grade_updated' order by stream"


async def test_the_least_recently_used_go_first_and_come_back_as_the_log_tells_them(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), Commands()
        deciding = CommandProcessor(log, await log.current_incarnation("commands"), entries_max=ENTRIES_MAX)
        await deciding.process(commands.facts())
        for _ in range(2):
            for start in range(COURSES):
                await deciding.process(commands.grades(COURSES)[start : start + 1])
                assert 0 < deciding.state_cache.entry_count <= ENTRIES_MAX
                assert 0 < len(deciding.state_cache.assignments) < COURSES
        versions = [row["version"] for row in await connection.fetch(VERSIONS)]
    finally:
        await connection.close()

    assert versions == [4] * COURSES


async def test_a_batch_that_needs_many_assignments_is_decided_in_parts_and_each_record_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), Commands()
        source = await log.current_incarnation("commands")
        await CommandProcessor(log, source).process(commands.facts())
        sent = [*commands.grades(COURSES), *commands.grades(COURSES)]
        settled = await CommandProcessor(log, source).process(sent)
        decided = await connection.fetch('select partition, "offset", append_time from verdict order by 1, 2')
        versions = [row["version"] for row in await connection.fetch(VERSIONS)]
    finally:
        await connection.close()

    assert sum(settled.outcomes.values()) == 2 * COURSES
    assert len(decided) == len({(row["partition"], row["offset"]) for row in decided}) == commands.ends.total()
    assert versions == [4] * COURSES


async def test_a_batch_that_needs_many_courses_is_decided_in_parts(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "READ_AT_ONCE_MAX", READ_AT_ONCE_MAX)
    connection = await asyncpg.connect(database_url)
    try:
        log, commands = EventStore(connection), Commands()
        source = await log.current_incarnation("commands")
        await CommandProcessor(log, source).process(commands.facts())
        before = await connection.fetchval(TRANSACTIONS)
        again = [record for record in commands.facts() if b"upsert_enrollments" in (record.value or b"")]
        settled = await CommandProcessor(log, source).process(again)
        parts = await connection.fetchval(TRANSACTIONS) - before
    finally:
        await connection.close()

    assert sum(settled.outcomes.values()) == len(again)
    assert parts == -(-COURSES // READ_AT_ONCE_MAX)
