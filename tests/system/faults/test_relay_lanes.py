"""Relays share the lanes evenly, and one that hangs loses all of its lanes: each record is published once, in order."""

import secrets
import signal

from schemas.topics import count_lanes
from services.eventlog.encryption import KEY_BYTES
from services.kafka.partitioning import get_course_shard
from services.kafka.relay_progress import list_lane_shards
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import (
    BackgroundSender,
    Connection,
    assert_dense,
    connected,
    start_handler,
    wait_until_processed,
)
from tests.fixtures.process_runner import DEADLINE_SECONDS, Process, wait_until
from tests.fixtures.system import System

ACTIVE = "moderation_relay_active"


async def start_relays(system: System, number: int) -> list[Process]:
    """A handler and so many relays, ready."""
    relays = [system.create_process("relay") for _ in range(number)]
    for process in (system.create_process("handler"), *relays):
        process.start()
        await process.wait_until_ready()
    return relays


async def wait_for_lanes(*expected: tuple[Process, int]) -> None:
    """Wait until each relay works so many lanes."""
    await wait_until(
        lambda: all(relay.get_metric(ACTIVE) == lanes for relay, lanes in expected),
        f"lanes: {[lanes for _, lanes in expected]}",
    )


async def assert_published_once(system: System, sending: BackgroundSender) -> None:
    await sending.stop()
    await wait_until(
        lambda: len(system.client.verdicts) == len(sending.command_ids), "every verdict", 2 * DEADLINE_SECONDS
    )
    for name in ("verdicts", "events"):
        await system.client.wait_until_read(name)
        assert_dense(system.client.records[name])
        assert len(system.client.records[name]) == len(sending.command_ids)


async def test_relays_share_the_lanes_evenly_and_publish_every_record_once_through_each_move(system: System) -> None:
    (first,) = await start_relays(system, 1)
    await wait_for_lanes((first, count_lanes()))
    sending = BackgroundSender(system)
    second, third = system.create_process("relay"), system.create_process("relay")
    second.start()
    await second.wait_until_ready()
    await wait_for_lanes((first, 2), (second, 2))

    first.kill()
    await wait_for_lanes((second, 4))
    first.start()
    await first.wait_until_ready()
    await wait_for_lanes((first, 2), (second, 2))

    third.start()
    await third.wait_until_ready()
    await wait_until(
        lambda: sorted(relay.get_metric(ACTIVE) for relay in (first, second, third)) == [1, 1, 2], "lanes: 2, 1, 1"
    )
    assert second.stop() == 0
    await wait_for_lanes((first, 2), (third, 2))
    await assert_published_once(system, sending)
    assert sum(relay.get_metric("moderation_relay_fenced_total") for relay in (first, third)) == 0


async def test_relay_that_hangs_loses_all_of_its_lanes_and_publishes_nothing_twice_when_it_goes_on(
    system: System,
) -> None:
    hanging, other = await start_relays(system, 2)
    await wait_for_lanes((hanging, 2), (other, 2))
    sending = BackgroundSender(system)
    await wait_until(lambda: len(system.client.verdicts) > 100, "verdicts are published")
    hanging.signal(signal.SIGSTOP)
    try:
        await wait_until(lambda: other.get_metric(ACTIVE) == count_lanes(), "the other one works all lanes", 20)
        assert other.get_metric("moderation_relay_takeovers_total") == 1
        assert "sent no heartbeat" in other.log.read_text()
    finally:
        hanging.signal(signal.SIGCONT)
    await wait_for_lanes((hanging, 2), (other, 2))
    await assert_published_once(system, sending)


async def test_relay_whose_lanes_wait_for_postgresql_gives_them_up_although_its_leases_are_kept(system: System) -> None:
    other, hanging = system.create_process("relay"), system.create_process("relay")
    # The lanes wait in a query, while the session that holds their leases is used all the time.
    hanging.environment |= {"FAILPOINTS": "relay.log.heads.before=delay(50)@60+"}
    for process in (system.create_process("handler"), other, hanging):
        process.start()
        await process.wait_until_ready()
    sending = BackgroundSender(system)
    await wait_until(lambda: "has not answered the lane" in hanging.log.read_text(), "a lane hangs")
    await wait_for_lanes((hanging, 0), (other, count_lanes()))
    await assert_published_once(system, sending)
    assert hanging.get_metric(ACTIVE) == 0
    assert other.get_metric("moderation_relay_takeovers_total") == 0


def world_in_lane(lane: int) -> World:
    """A course whose records a lane publishes."""
    while get_course_shard((world := World()).course_id) not in list_lane_shards(lane):
        pass
    return world


async def replace_key(connection: Connection, key: bytes) -> bytes:
    """Replace the only key under its id, as a table that was restored on its own would, and return the previous one."""
    async with connection.transaction():
        row = await connection.fetchrow("delete from encryption_key returning id, root_account, course, person, key")
        assert row is not None
        *owner, previous = row
        insert = "insert into encryption_key (id, root_account, course, person, key) values ($1, $2, $3, $4, $5)"
        await connection.execute(insert, *owner, key)
    return bytes(previous)


async def test_row_that_cannot_be_published_stops_its_lane_and_no_other(system: System) -> None:
    await start_handler(system)
    world, other_world = world_in_lane(0), world_in_lane(1)
    names = world.command("upsert_users", {"users": [{"user_id": world.user_id("student"), "name": "A Student"}]})
    await system.client.send(names)
    await wait_until_processed(system, 1)
    async with connected(system) as connection:
        key = await replace_key(connection, secrets.token_bytes(KEY_BYTES))
        relay = system.create_process("relay")
        relay.start()
        for _ in range(2):
            await wait_until(lambda: "lane 0 cannot publish" in relay.get_readiness()[1], "the lane names the cause")
            await system.client.send_and_wait(other_world.command("upsert_course", {"name": "Course"}))
        assert relay.popen is not None
        assert relay.popen.poll() is None, "the other lanes' process goes on"
        assert names["command_id"] not in system.client.verdicts

        await replace_key(connection, key)
    await relay.wait_until_ready()
    await system.client.wait_for_verdict(names["command_id"])
    for name in ("verdicts", "events"):
        await system.client.wait_until_read(name)
        assert_dense(system.client.records[name])
