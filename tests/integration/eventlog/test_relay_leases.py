"""Leases are locks of one session per relay, which other relays see, and end if the relay hangs."""

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.config.relay import RelaySettings
from services.eventlog.postgres import READER, HeartbeatConnection, connect
from services.eventlog.relay_leases import LEASE_PROCESS, LeaseSession, RelayLeases, lane_lock_name
from services.relay.lease_keeper import LeaseKeeper
from services.relay.metrics import RelayTelemetry
from services.runtime.health import Health
from services.telemetry.metrics.relay import RelayMetrics
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


@pytest.fixture
async def other_login_url(database_url: str, postgres: str) -> AsyncIterator[str]:
    """The log's URL for a login of its own with the reader's rights."""
    login = f"test_relay_{uuid.uuid4().hex[:8]}"
    password = uuid.uuid4().hex
    administrator = await asyncpg.connect(postgres)
    await administrator.execute(f"create role {login} login password '{password}'; grant {READER} to {login}")
    place = urlsplit(database_url).netloc.rpartition("@")[2]
    try:
        yield urlsplit(database_url)._replace(netloc=f"{login}:{password}@{place}", query="").geturl()
    finally:
        await administrator.execute(f"drop role {login}")
        await administrator.close()


async def test_relay_warns_once_if_another_one_has_another_login(
    database_url: str, other_login_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither can end the other's session: a relay that hangs would keep its lanes."""
    monkeypatch.setenv("DATABASE_URL", other_login_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("TOPIC_PREFIX", PREFIX)
    other = await open_leases(database_url)
    health, rounds = Health(), list[float]()
    telemetry = RelayTelemetry(RelayMetrics())
    keeper = asyncio.create_task(LeaseKeeper(RelaySettings(), [], health, telemetry).run())
    own = await open_leases(database_url)
    try:
        await other.join()
        async with asyncio.timeout(20):
            while len(rounds) < 3:
                sessions = await own.read_sessions()
                rounds = sorted(
                    {*rounds, *(s.last_used_at.timestamp() for s in sessions if s.pid != other.pid if s.last_used_at)}
                )
                await asyncio.sleep(0.05)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await own.connection.close()
        await other.connection.close()
    warnings = [record.getMessage() for record in caplog.records if "another role" in record.getMessage()]
    assert len(warnings) == 1
    assert "use the same role for all relays" in warnings[0]
