"""Two relays, killed and paused inside Kafka transactions: every record once, in order, for every client that reads."""

import asyncio
import signal
from operator import itemgetter
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import count_lanes
from services.kafka.client_options import client_options
from services.kafka.partitioning import ALL_SHARDS
from services.kafka.topics import full_topic_name
from tests.fixtures.fault_helpers import BackgroundSender, assert_dense, course_commands, send_all, wait_until_published
from tests.fixtures.process_runner import DEADLINE_SECONDS, Process, wait_until
from tests.fixtures.system import System
from tests.system.faults.foreign_consumers import start_consumers

# A commit in flight when the relay was stopped arrives within this many polls.
POLLS = 20


async def read_end_offsets(system: System) -> tuple[int, int]:
    """Return the number of records on the verdicts topic, with and without those of an open transaction."""
    partitions = [TopicPartition(full_topic_name(system.prefix, "verdicts"), number) for number in ALL_SHARDS]
    committed = await system.client.consumer.end_offsets(partitions)
    uncommitted = await system.client.uncommitted_consumer.end_offsets(partitions)
    return sum(uncommitted.values()), sum(committed.values())


async def pause_inside_transaction(system: System, relay: Process) -> None:
    """Pause the only relay at a moment when it has sent records and has not ended their transaction."""
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        while True:
            relay.signal(signal.SIGSTOP)
            for _ in range(POLLS):
                uncommitted, committed = await read_end_offsets(system)
                if uncommitted == committed:
                    break
                await asyncio.sleep(0.01)
            else:
                return
            relay.signal(signal.SIGCONT)
            await asyncio.sleep(0.003)


async def wait_for_progress(system: System) -> None:
    """Wait until a read_committed reader sees more verdicts."""
    seen = len(system.client.records["verdicts"])
    await wait_until(lambda: len(system.client.records["verdicts"]) > seen + 50, "verdicts go on")


async def wait_until_active(relay: Process) -> None:
    """Wait until a relay is active on all lanes."""
    await relay.wait_until_ready()
    await wait_until(
        lambda: relay.get_metric("moderation_relay_active") == count_lanes(), "the other relay works all lanes"
    )


async def fail_over(system: System, active: Process, other: Process) -> None:
    """Kill the relay that writes inside a transaction; another one takes over."""
    await pause_inside_transaction(system, active)
    active.kill()
    other.start()
    await wait_until_active(other)
    await wait_for_progress(system)


async def fence_paused_relay(system: System, paused: Process, other: Process) -> None:
    """Pause the relay that writes inside a transaction until another has taken over, then resume it."""
    await pause_inside_transaction(system, paused)
    other.start()
    await wait_until_active(other)
    paused.signal(signal.SIGCONT)
    await wait_for_progress(system)
    await wait_until(
        lambda: paused.get_metric("moderation_relay_fenced_total"), "the paused relay was told that it is not alone"
    )
    await wait_until(lambda: "fenced this producer" in paused.log.read_text(), "it says so")
    assert paused.get_metric("moderation_relay_fenced_total") <= count_lanes()
    await paused.wait_until_ready()


@pytest.mark.timeout(900)
async def test_relays_killed_and_paused_inside_transactions_publish_every_record_once(
    system: System, kills: int
) -> None:
    handler, active, other = (system.create_process(name) for name in ("handler", "relay", "relay"))
    for process in (handler, active):
        process.start()
        await process.wait_until_ready()
    events = full_topic_name(system.prefix, "events")
    with start_consumers(system.bootstrap, events, system.folder) as others:
        sending = BackgroundSender(system)
        await wait_for_progress(system)
        for _ in range(kills):
            await fail_over(system, active, other)
            active, other = other, active
        await fence_paused_relay(system, active, other)
        await sending.stop()
        await wait_until(
            lambda: len(system.client.verdicts) == len(sending.command_ids), "every verdict", 2 * DEADLINE_SECONDS
        )
        for name in ("verdicts", "events"):
            await system.client.wait_until_read(name)
            assert_dense(system.client.records[name])
            assert len(system.client.records[name]) == len(sending.command_ids)
        assert set(system.client.verdicts) == set(sending.command_ids)
        ours = [
            (record.partition, int(headers["ce_sequence"]), headers["ce_id"].decode())
            for record in system.client.records["events"]
            for headers in [dict(record.headers)]
        ]
        for name, reader in others.items():
            await wait_until(lambda reader=reader: len(reader.records_read) >= len(ours), f"{name} has read all")  # type: ignore[misc]
            # Partitions may arrive in any order, but each is in order.
            assert sorted(reader.records_read, key=itemgetter(0)) == sorted(ours, key=itemgetter(0)), name


async def set_max_message_bytes(system: System, name: str, bytes_max: int) -> None:
    """Set the maximum batch size of a topic, and return when the broker applies it."""
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    resource = ConfigResource(
        ConfigResourceType.TOPIC, full_topic_name(system.prefix, name), {"max.message.bytes": str(bytes_max)}
    )
    await admin.alter_configs([resource])

    async def goes_by_it() -> bool:
        answers: list[Any] = await admin.describe_configs([ConfigResource(resource.resource_type, resource.name)])
        return ("max.message.bytes", str(bytes_max)) in [entry[:2] for entry in answers[0].resources[0][4]]

    await wait_until(goes_by_it, "the broker goes by it")
    await admin.close()


async def test_relay_retries_records_rejected_by_a_topic_and_skips_none(system: System) -> None:
    handler, relay = system.create_process("handler"), system.create_process("relay")
    for process in (handler, relay):
        process.start()
        await process.wait_until_ready()
    await set_max_message_bytes(system, "events", 100)
    await send_all(system, course_commands(30))
    await wait_until(lambda: "MessageSizeTooLarge" in relay.get_readiness()[1], "the relay says what is wrong")
    assert not system.client.records["verdicts"], "a transaction is committed that lacks records"
    await set_max_message_bytes(system, "events", 4 << 20)
    await wait_until_published(system, 30)
    for name in ("verdicts", "events"):
        assert_dense(system.client.records[name])
    await relay.wait_until_ready()
