"""Relays share the lanes evenly, and one that hangs loses all of its lanes: each record is published once, in order."""

import signal

from schemas.topics import count_lanes
from tests.fixtures.fault_helpers import BackgroundSender, assert_dense
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
