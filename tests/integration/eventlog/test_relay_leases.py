"""Leases are locks of one session per relay, which other relays see, and end if the relay hangs."""

import dataclasses
from datetime import UTC, datetime

import asyncpg
import pytest

from services.eventlog.postgres import READER, HeartbeatConnection, connect
from services.eventlog.relay_leases import LEASE_PROCESS, LeaseSession, RelayLeases, lane_lock_name
from tests.fixtures.connection_pooler import run_pooler

PREFIX = "leases"
LANES = range(4)


async def open_leases(database_url: str) -> RelayLeases:
    leases = RelayLeases(await connect(database_url, LEASE_PROCESS, READER), PREFIX, LANES)
    await leases.begin()
    return leases


async def read_session(leases: RelayLeases, pid: int) -> LeaseSession | None:
    return next((session for session in await leases.read_sessions() if session.pid == pid), None)


async def test_each_relay_sees_which_lanes_the_others_hold_and_whether_they_take_a_share(database_url: str) -> None:
    first, second = await open_leases(database_url), await open_leases(database_url)
    try:
        await first.join()
        assert await first.try_lock(1)
        assert await first.try_lock(3)
        assert not await second.try_lock(3)
        seen = await read_session(second, first.pid)
        assert seen is not None
        assert (seen.lanes, seen.is_member) == (frozenset({1, 3}), True)
        assert seen.last_used_at is not None

        await first.leave()
        await first.unlock(3)
        assert await second.try_lock(3)
        seen = await read_session(second, first.pid)
        assert seen is not None
        assert (seen.lanes, seen.is_member) == (frozenset({1}), False)
    finally:
        await first.connection.close()
        await second.connection.close()


async def test_session_of_a_relay_that_hangs_is_ended_and_its_lanes_are_free(database_url: str) -> None:
    hanging, other = await open_leases(database_url), await open_leases(database_url)
    try:
        await hanging.join()
        for lane in LANES:
            assert await hanging.try_lock(lane)
        seen = await read_session(other, hanging.pid)
        assert seen is not None
        assert not await other.end_session(dataclasses.replace(seen, last_used_at=datetime.now(UTC)))
        assert await other.end_session(seen)
        while await read_session(other, hanging.pid):
            pass
        for lane in LANES:
            assert await other.try_lock(lane)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await hanging.read_sessions()
    finally:
        hanging.connection.terminate()
        await other.connection.close()


async def test_operators_command_that_holds_lanes_is_never_taken_for_a_relay_that_hangs(database_url: str) -> None:
    leases = await open_leases(database_url)
    operator: HeartbeatConnection = await connect(database_url, "rewind", READER)
    try:
        await operator.fetchval("select pg_advisory_lock(hashtextextended($1, 0))", lane_lock_name(PREFIX, 2))
        seen = await read_session(leases, operator.get_server_pid())
        assert seen is not None
        assert seen == LeaseSession(operator.get_server_pid(), frozenset({2}), is_member=False, last_used_at=None)
    finally:
        await operator.close()
        await leases.connection.close()


async def test_relay_finds_its_own_session_behind_a_pooler(database_url: str) -> None:
    async with run_pooler(database_url, "session") as url:
        leases = await open_leases(url)
        try:
            await leases.join()
            seen = await read_session(leases, leases.pid)
            assert seen is not None
            assert seen.is_member
        finally:
            await leases.connection.close()
