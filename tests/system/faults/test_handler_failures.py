"""Every record is processed once when the handler is killed before the offset commit, or an append fails."""

import asyncio
import base64
import secrets
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from schemas.topics import count_lanes
from services.eventlog.append_batch import AppendBatch, RecordCoordinates
from services.eventlog.store import EventStore
from services.handler.consumer import RETRY_SECONDS
from services.kafka.client_options import client_options
from services.kafka.partitioning import SHARD_COUNT, get_course_shard
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import (
    BackgroundSender,
    Connection,
    connected,
    count_rows,
    course_commands,
    send_all,
    start_handler,
    wait_until_processed,
)
from tests.fixtures.process_runner import DEADLINE_SECONDS, Process, wait_until
from tests.fixtures.system import System

# An offset commit in flight when the handler was stopped arrives within this many polls.
POLLS = 20
LOCKED = SHARD_COUNT - 1
COURSES = 12


async def count_uncommitted(system: System, admin: AIOKafkaAdminClient) -> int:
    """Count the processed records whose offsets the group has not committed."""
    offsets = await admin.list_consumer_group_offsets(f"{system.prefix}.handler")
    committed = {topic_partition.partition: commit.offset for topic_partition, commit in offsets.items()}
    async with connected(system) as connection:
        processed = await connection.fetch('select partition, max("offset") + 1 from verdict group by 1')
    return sum(end - max(committed.get(partition, 0), 0) for partition, end in processed)


async def kill_before_offset_commit(system: System, handler: Process) -> int:
    """Kill the handler between a batch's append and its offset commit; return the number of uncommitted records."""
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    try:
        async with asyncio.timeout(2 * DEADLINE_SECONDS):
            while True:
                handler.signal(signal.SIGSTOP)
                uncommitted_counts = [await count_uncommitted(system, admin)]
                while uncommitted_counts[-1] and len(uncommitted_counts) < POLLS:
                    uncommitted_counts.append(await count_uncommitted(system, admin))
                if uncommitted_counts[-1]:
                    handler.kill()
                    return uncommitted_counts[-1]
                handler.signal(signal.SIGCONT)
                await asyncio.sleep(0.002)
    finally:
        await admin.close()


async def test_handler_killed_before_the_offset_commit_causes_no_duplicate_verdict(system: System) -> None:
    handler = await start_handler(system)
    sender = BackgroundSender(system)
    await wait_until_processed(system, 100)
    for _ in range(2):
        assert await kill_before_offset_commit(system, handler) > 0
        handler.start()
        await handler.wait_until_ready()
    await sender.stop()
    await wait_until_processed(system, len(sender.command_ids))
    assert (await count_rows(system), await count_rows(system, "event")) == (
        len(sender.command_ids),
        len(sender.command_ids),
    )
    async with connected(system) as connection:
        assert await connection.fetchval("select bool_and(first) from verdict")


async def test_graceful_shutdown_commits_the_offsets_of_all_processed_records(system: System) -> None:
    handler = await start_handler(system)
    sender = BackgroundSender(system)
    await wait_until_processed(system, 100)
    assert handler.stop() == 0
    await sender.stop()
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    try:
        assert await count_rows(system) >= 100
        assert await count_uncommitted(system, admin) == 0
    finally:
        await admin.close()


async def wait_for_blocked_append(connection: Connection) -> int:
    """Return the pid of the handler's backend, once its append waits for a lock."""
    waiting = (
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        " and application_name = 'moderation-handler' and query like 'select append(%'"
    )
    return int(await wait_until(lambda: connection.fetchval(waiting), "an append waits"))


async def terminate_backend(event_store: EventStore, pid: int) -> None:
    assert await event_store.connection.fetchval("select pg_terminate_backend($1)", pid)


async def append_concurrently(event_store: EventStore, pid: int) -> None:
    context = await event_store.read_batch_context([LOCKED], [])
    incarnation = await event_store.current_incarnation("another topic")
    batch = AppendBatch(incarnation, context.decided_at, context.heads, {})
    batch.add_dead_letter(LOCKED, RecordCoordinates(0, 0, 1), None, None, b"[]", "empty", "the record has no value")
    assert await event_store.append(batch)


@pytest.mark.parametrize("fail", [terminate_backend, append_concurrently])
async def test_batch_over_several_partitions_is_processed_once_after_a_failed_append(
    system: System, fail: Callable[[EventStore, int], Awaitable[None]]
) -> None:
    handler = await start_handler(system, HANDLER_SUBSCRIBERS="1")
    commands = course_commands(600)
    await send_all(system, commands[:200])
    await wait_until_processed(system, 200)
    # pg_stat_activity is frozen within a transaction: the observer opens none.
    async with connected(system) as observer, connected(system) as connection:
        event_store = EventStore(connection)
        async with connection.transaction():
            await event_store.lock([LOCKED])
            handler.signal(signal.SIGSTOP)
            await send_all(system, commands[200:])
            handler.signal(signal.SIGCONT)
            await fail(event_store, await wait_for_blocked_append(observer))
        await wait_until_processed(system, len(commands))
        assert (await count_rows(system), await count_rows(system, "event")) == (len(commands), len(commands))
        assert await connection.fetchval("select count(distinct partition) from verdict") == SHARD_COUNT
        over = (
            "select count(distinct partition) from decided_command where number > 1 group by xmin::text order by 1 desc"
        )
        assert await connection.fetchval(over) > 1, "no batch was over several partitions"


INSERT_UNKNOWN_EVENT = """
insert into event (shard, position, stream, version, type, type_version, data, metadata, recorded_at)
select e.shard, (select max(position) from event where shard = e.shard) + 1, e.stream, e.version + 1,
       'course_dissolved', 1, e.data, e.metadata, e.recorded_at
from event e join stream s on s.number = e.stream where s.course = $1
"""

REFUSE_STREAMS = """
create function refuse_streams() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'unique_violation', constraint = 'another';
end
$$;
create trigger refuse_streams before insert on stream for each row execute function refuse_streams()
"""


async def decide_courses(system: System, **environment: str) -> tuple[Process, int, str, str]:
    """Let one handler decide COURSES courses; return it, a shard, a course of that shard and one of another shard."""
    handler = await start_handler(system, HANDLER_SUBSCRIBERS="1", **environment)
    commands = course_commands(COURSES)
    await send_all(system, commands)
    await wait_until_processed(system, COURSES)
    course_by_shard = {get_course_shard(int(command["course_id"])): command["course_id"] for command in commands}
    (bad_shard, bad), (_, good) = list(course_by_shard.items())[:2]
    return handler, bad_shard, bad, good


async def test_record_that_postgresql_refuses_pauses_only_its_partition(system: System) -> None:
    handler, bad_shard, bad, good = await decide_courses(system)
    async with connected(system) as connection:
        await connection.execute("alter table event add check (data::text not like '%Refused%')")
    handler.signal(signal.SIGSTOP)
    updates = [
        World().command("upsert_course", {"name": name}) | {"course_id": course}
        for course, name in ((bad, "Before"), (bad, "Refused"), (good, "Good"))
    ]
    await send_all(system, updates)
    handler.signal(signal.SIGCONT)

    await wait_until_processed(system, COURSES + 2)
    await wait_until(
        lambda: f"partition {bad_shard} cannot be processed" in handler.get_readiness()[1],
        "the handler names the partition",
    )

    async with connected(system) as connection:
        await connection.execute("alter table event drop constraint event_data_check")
    await wait_until_processed(system, COURSES + 3)


async def test_key_that_another_master_key_wraps_pauses_only_its_partition_and_its_lane(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "master").write_bytes(base64.b64encode(secrets.token_bytes(32)))
    master_key = {"ENCRYPTION_KEY_FILE": str(tmp_path / "master")}
    handler, bad_shard, bad, good = await decide_courses(system, **master_key)

    def name_person(course: str, name: str, user_id: int = 31) -> dict[str, Any]:
        users = [{"user_id": user_id, "name": name}]
        return World().command("upsert_users", {"users": users}) | {"course_id": course}

    await send_all(system, [name_person(bad, "Ann"), name_person(good, "Ann")])
    await wait_until_processed(system, COURSES + 2)
    foreign = aes_key_wrap(secrets.token_bytes(32), secrets.token_bytes(32))
    async with connected(system) as connection:
        await connection.execute("alter table encryption_key disable trigger refuse_change")
        changed = await connection.execute("update encryption_key set key = $1 where course = $2", foreign, int(bad))
    assert changed == "UPDATE 1"

    handler.signal(signal.SIGSTOP)
    await send_all(system, [name_person(bad, "Ann Lee"), name_person(good, "Ann Lee")])
    handler.signal(signal.SIGCONT)

    await wait_until_processed(system, COURSES + 3)
    await wait_until(
        lambda: f"partition {bad_shard} cannot be processed" in handler.get_readiness()[1],
        "the handler names the partition",
    )
    # A new key is still stored for others, and the log's master key is still the handler's.
    await send_all(system, [name_person(good, "Ben", 32)])
    await wait_until_processed(system, COURSES + 4)

    relay = system.create_process("relay", **master_key)
    relay.start()
    await wait_until(lambda: "a key of the log" in relay.get_readiness()[1], "the relay names the key")
    await wait_until(
        lambda: relay.get_metric("moderation_relay_active") == count_lanes() - 1, "the other lanes are worked"
    )


async def test_append_that_a_constraint_refuses_again_and_again_is_tried_with_pauses_and_named(system: System) -> None:
    handler = await start_handler(system)
    async with connected(system) as connection:
        await connection.execute(REFUSE_STREAMS)
        await send_all(system, course_commands(1))
        await wait_until(lambda: "again and again" in handler.get_readiness()[1], "the handler is not ready")
        since, attempts = time.monotonic(), handler.log.read_text().count("was refused by")
        await wait_until(
            lambda: handler.log.read_text().count("was refused by") > attempts, "the records are tried again"
        )
        assert time.monotonic() - since > RETRY_SECONDS[-1] / 2
        await connection.execute("drop trigger refuse_streams on stream")
    await wait_until_processed(system, 1)
    await handler.wait_until_ready()


async def test_failing_record_pauses_only_its_partition_and_is_retried_after_a_pause(system: System) -> None:
    handler, bad_shard, bad, good = await decide_courses(system)
    async with connected(system) as connection:
        await connection.execute(INSERT_UNKNOWN_EVENT, int(bad))
    handler.signal(signal.SIGSTOP)
    updates = {
        course: World().command("upsert_course", {"name": "again"}) | {"course_id": course} for course in (bad, good)
    }
    await send_all(system, list(updates.values()))
    handler.signal(signal.SIGCONT)
    bad_since = time.monotonic()
    await wait_until_processed(system, COURSES + 1)
    await wait_until(
        lambda: f"partition {bad_shard} cannot be processed" in handler.get_readiness()[1],
        "the handler names the partition",
    )
    # Later commands of other partitions are processed too, and each attempt logs a few lines.
    await send_all(system, [{**updates[good], "command_id": str(uuid.uuid4())}])
    await wait_until_processed(system, COURSES + 2)
    attempts = 1 + (time.monotonic() - bad_since) / RETRY_SECONDS[-1]
    assert len(handler.log.read_text().splitlines()) < 20 + 4 * attempts
    async with connected(system) as connection:
        count_verdicts = "select count(*) from verdict where command_id = $1"
        assert await connection.fetchval(count_verdicts, updates[bad]["command_id"]) == 0
