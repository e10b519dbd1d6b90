"""What PostgreSQL says about the processes: their sessions, the relay of each lane, the last decisions."""

import uuid
from collections.abc import AsyncIterator
from typing import TypeAlias
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest

from services.eventlog.postgres import OPERATOR, READER, connect, create_pool
from services.eventlog.process_sessions import read_last_decisions, read_process_activity
from services.eventlog.relay_leases import LEASE_PROCESS, RelayLeases

PREFIX = "sessions"
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


async def test_sessions_of_each_process_and_the_holder_of_each_lane_are_shown(database_url: str) -> None:
    pool = await create_pool(database_url, "console", OPERATOR, 1, 10)
    scheduler = await connect(database_url, "scheduler", READER)
    leases = RelayLeases(await connect(database_url, LEASE_PROCESS, READER), PREFIX, [3, 5])
    try:
        await leases.begin()
        await leases.join()
        assert await leases.try_lock(5)
        activity = await read_process_activity(pool, PREFIX, [3, 5])
        assert [(lane.lane, lane.pid) for lane in activity.lanes] == [(3, None), (5, leases.pid)]
        assert activity.lanes[1].last_used_at is not None
        counts = {sessions.process: sessions.count for sessions in activity.sessions}
        assert counts == {"handler": 0, "relay": 1, "gateway": 0, "scheduler": 1}
        assert all((sessions.last_used_at is not None) == (sessions.count > 0) for sessions in activity.sessions)
        # The pool's connection has its role again.
        assert await pool.fetchval("select current_user") == OPERATOR
    finally:
        await scheduler.close()
        await leases.connection.close()
        pool.terminate()


@pytest.fixture
async def console_login(postgres: str) -> AsyncIterator[tuple[str, Connection]]:
    """A login of the console's own as the documents create it, and an administrator's connection."""
    login = f"test_console_{uuid.uuid4().hex[:8]}"
    administrator = await asyncpg.connect(postgres)
    await administrator.execute(f"create role {login} login noinherit password '{login}'; grant {OPERATOR} to {login}")
    try:
        yield login, administrator
    finally:
        await administrator.execute(f"drop role {login}")
        await administrator.close()


async def test_activity_of_another_login_is_seen_by_members_of_pg_read_all_stats(
    database_url: str, console_login: tuple[str, Connection]
) -> None:
    login, administrator = console_login
    place = urlsplit(database_url).netloc.rpartition("@")[2]
    url = urlsplit(database_url)._replace(netloc=f"{login}:{login}@{place}", query="").geturl()
    scheduler = await connect(database_url, "scheduler", READER)
    pool = await create_pool(url, "console", OPERATOR, 1, 10)
    try:
        before = next(s for s in (await read_process_activity(pool, PREFIX, [])).sessions if s.process == "scheduler")
        await administrator.execute(f"grant pg_read_all_stats to {login}")
        after = next(s for s in (await read_process_activity(pool, PREFIX, [])).sessions if s.process == "scheduler")
    finally:
        await scheduler.close()
        pool.terminate()
    assert (before.count, before.last_used_at, before.login) == (1, None, after.login)
    assert after.last_used_at is not None


async def test_lanes_of_another_installation_are_not_mixed_up(database_url: str) -> None:
    pool = await create_pool(database_url, "console", OPERATOR, 1, 10)
    leases = RelayLeases(await connect(database_url, LEASE_PROCESS, READER), "another", [0])
    try:
        await leases.begin()
        assert await leases.try_lock(0)
        assert [lane.pid for lane in (await read_process_activity(pool, PREFIX, [0])).lanes] == [None]
    finally:
        await leases.connection.close()
        pool.terminate()


async def test_last_decision_of_a_partition_is_that_of_its_highest_offset(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into source (topic, reason) values ('old.commands', 'test'), ('commands', 'test')")
        connection.execute(
            "insert into decided_command select 0, n, 1, gen_random_uuid(), true, '', s.number, 2, n, 0,"
            " '2026-01-31T12:00:00Z'::timestamptz + n * interval '1 s'"
            " from source s, generate_series(1, 3) n where s.topic = 'commands'"
        )
    connection_for_reading = await asyncpg.connect(database_url)
    try:
        decisions = await read_last_decisions(connection_for_reading, "commands", [1, 2])
    finally:
        await connection_for_reading.close()
    assert {partition: at.isoformat() for partition, at in decisions.items()} == {2: "2026-01-31T12:00:03+00:00"}
