"""Handler and relay killed at random moments under load, as seen by consumers of the topics."""

import asyncio
import json
import random
from collections import Counter
from typing import Any

import asyncpg

from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import STUDENTS, large_course_commands
from tests.fixtures.process_runner import DEADLINE_SECONDS, Json, Process, wait_until
from tests.fixtures.system import System

COMMANDS = 20_000
COURSES = 6
KILLS = 4


def build_records(worlds: list[World], chance: random.Random) -> list[tuple[bytes, bytes]]:
    """Build keys and values: grades with 5 % repeated commands and 1 % unreadable records, then the publications."""
    records: list[tuple[bytes, bytes]] = []
    for world in worlds:
        records += [_record(world, command) for command in large_course_commands(world)]
    sent: list[tuple[bytes, bytes]] = []
    while len(records) < COMMANDS - COURSES:
        world = chance.choice(worlds)
        random_value = chance.random()
        if random_value < 0.01:
            records.append((str(world.course_id).encode(), b'{"command_id": "unreadable'))
        elif random_value < 0.06 and sent:
            records.append(chance.choice(sent))
        else:
            student = f"s{chance.randrange(STUDENTS)}"
            grade = {"operation": "grade", "actor": "ta0", "assignment": "a", "student": student}
            sent.append(_record(world, world.operation({**grade, "score": chance.randrange(100)})))
            records.append(sent[-1])
    publish = {"operation": "publish", "actor": "fg", "assignment": "a"}
    return records + [_record(world, world.operation(publish)) for world in worlds]


def _record(world: World, command: Json) -> tuple[bytes, bytes]:
    return str(world.course_id).encode(), json.dumps(command).encode()


async def kill_and_restart(process: Process, chance: random.Random) -> None:
    process.kill()
    await asyncio.sleep(chance.random() * 0.1)
    process.start()


async def test_random_kills_lose_and_duplicate_no_record(system: System) -> None:
    chance = random.Random(20260101)
    handler, relay = system.create_process("handler", HANDLER_INSTANCE="killed"), system.create_process("relay")
    for process in (handler, relay):
        process.start()
        await process.wait_until_ready()
    worlds = [World() for _ in range(COURSES)]
    records = build_records(worlds, chance)
    unreadable = sum(value.startswith(b'{"command_id": "unreadable') for _, value in records)
    client = system.client

    async def send() -> None:
        for key, value in records:
            await client.send_raw(value, key)
        await client.producer.flush()

    send_task = asyncio.create_task(send())
    for number in range(KILLS):
        seen = len(client.records["verdicts"])
        await wait_until(lambda seen=seen: len(client.records["verdicts"]) > seen, "more verdicts")  # type: ignore[misc]
        await kill_and_restart(chance.choice([handler, relay]) if number > 1 else [handler, relay][number], chance)
    await send_task
    expected = len(records) - unreadable
    await wait_until(lambda: len(client.records["verdicts"]) >= expected, "every verdict", 4 * DEADLINE_SECONDS)
    await wait_until(lambda: len(client.records["dead-letters"]) >= unreadable, "every dead letter")
    await wait_until(lambda: len(client.records["live-events"]) >= COURSES * STUDENTS, "every published grade")
    assert len(client.records["dead-letters"]) == unreadable
    sent = Counter(json.loads(value)["command_id"] for _, value in records if not value.endswith(b"unreadable"))
    assert {command: len(verdicts) for command, verdicts in client.verdicts.items()} == dict(sent)
    assert all([v["duplicate"] for v in verdicts].count(False) == 1 for verdicts in client.verdicts.values())
    for name in ("verdicts", "events", "live-events"):
        assert_dense(client.records[name])
    published = Counter(
        json.loads(record.value or b"")["body"]["submission_id"] for record in client.records["live-events"]
    )
    assert set(published.values()) == {1}
    assert len(published) == COURSES * STUDENTS
    await assert_positions_dense(system)


def assert_dense(records: list[Any]) -> None:
    """Check that ``ce_sequence`` counts 1, 2, 3 … in each partition, in the order of arrival."""
    last: Counter[int] = Counter()
    for record in records:
        last[record.partition] += 1
        assert int(dict(record.headers)["ce_sequence"]) == last[record.partition]


async def assert_positions_dense(system: System) -> None:
    connection = await asyncpg.connect(system.database_url)
    try:
        for table, column in (("event", "position"), ("verdict", "number"), ("dead_letter", "number")):
            rows = await connection.fetch(f'select shard, count(*), max("{column}") from {table} group by shard')
            assert rows
            assert all(row["count"] == row["max"] for row in rows)
        versions = "select stream, count(*), max(version) from event group by stream"
        assert all(row["count"] == row["max"] for row in await connection.fetch(versions))
    finally:
        await connection.close()
