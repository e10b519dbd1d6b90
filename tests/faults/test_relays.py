"""Two relays, killed and paused inside Kafka transactions: every record once, in order, for every client that reads."""

import asyncio
import signal
from operator import itemgetter
from typing import Any

import asyncpg
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from services.kafka.partitioning import SHARD_COUNT
from services.kafka.topics import full_topic_name
from tests.conftest import System
from tests.faults.readers import reading
from tests.faults.steps import Sending, courses, send_all, until_relayed
from tests.faults.test_kills import assert_dense
from tests.processes.running import DEADLINE_SECONDS, Process, until

# A commit that was on its way when the relay was stopped has arrived before so many questions are answered.
LOOKS = 20


async def ends(system: System) -> tuple[int, int]:
    """Records of all kinds on the verdicts topic: with those of an open transaction, and without."""
    places = [TopicPartition(full_topic_name(system.prefix, "verdicts"), number) for number in range(SHARD_COUNT)]
    committed = await system.outside.consumer.end_offsets(places)
    uncommitted = await system.outside.uncommitted.end_offsets(places)
    return sum(uncommitted.values()), sum(committed.values())


async def stopped_inside_a_transaction(system: System, relay: Process) -> None:
    """Pause the relay at a moment when it has sent records and has not ended their transaction."""
    async with asyncio.timeout(2 * DEADLINE_SECONDS):
        while True:
            relay.signal(signal.SIGSTOP)
            for _ in range(LOOKS):
                uncommitted, committed = await ends(system)
                if uncommitted == committed:
                    break
                await asyncio.sleep(0.01)
            else:
                return
            relay.signal(signal.SIGCONT)
            await asyncio.sleep(0.003)


async def goes_on(system: System) -> None:
    """More verdicts are seen by a reader of what is committed."""
    seen = len(system.outside.records["verdicts"])
    await until(lambda: len(system.outside.records["verdicts"]) > seen + 50, "verdicts go on")


async def others_have_sent(system: System) -> None:
    """Somebody sends, whether or not a reader sees it: a transaction that is open hides what follows."""
    before, _ = await ends(system)

    async def more_is_there() -> bool:
        return (await ends(system))[0] >= before + 50

    await until(more_is_there, "somebody sends")


async def release_lock(system: System) -> None:
    """End the session that holds the lock, as PostgreSQL's keep-alive would after a while."""
    connection = await asyncpg.connect(system.database_url)
    try:
        ended = await connection.fetch(
            "select pg_terminate_backend(l.pid) from pg_locks l join pg_database d on d.oid = l.database"
            " where l.locktype = 'advisory' and l.granted and d.datname = current_database()"
        )
        assert len(ended) == 1
    finally:
        await connection.close()


async def taken_over(system: System, active: Process, standing_by: Process) -> None:
    """Kill the relay that writes inside a transaction; the other one goes on, and the killed one stands by."""
    await stopped_inside_a_transaction(system, active)
    active.kill()
    await goes_on(system)
    active.start()
    await until(lambda: standing_by.told("moderation_relay_active") == 1, "the other relay writes")
    await active.ready()


async def fenced(system: System, paused: Process) -> None:
    """Pause the relay that writes inside a transaction until another has gone on, and let it go on as well."""
    await stopped_inside_a_transaction(system, paused)
    await release_lock(system)
    await others_have_sent(system)
    paused.signal(signal.SIGCONT)
    await goes_on(system)
    await until(lambda: paused.told("moderation_relay_fenced_total"), "the paused relay was told that it is not alone")
    await until(lambda: "cannot relay" in paused.log.read_text(), "it says so")
    assert paused.told("moderation_relay_fenced_total") == 1
    await paused.ready()


@pytest.mark.timeout(900)
async def test_relays_killed_and_paused_inside_transactions_do_no_harm(system: System, kills: int) -> None:
    active, standing_by = system.process("relay"), system.process("relay")
    for process in (system.process("handler"), active, standing_by):
        process.start()
        await process.ready()
    events = full_topic_name(system.prefix, "events")
    with reading(system.bootstrap, events, system.folder) as others:
        sending = Sending(system)
        await goes_on(system)
        for _ in range(kills):
            await taken_over(system, active, standing_by)
            active, standing_by = standing_by, active
        await fenced(system, active)
        await sending.end()
        await until(lambda: len(system.outside.verdicts) == len(sending.ids), "every verdict", 2 * DEADLINE_SECONDS)
        for name in ("verdicts", "events"):
            await system.outside.caught_up(name)
            assert_dense(system.outside.records[name])
            assert len(system.outside.records[name]) == len(sending.ids)
        assert set(system.outside.verdicts) == set(sending.ids)
        ours = [
            (record.partition, int(headers["ce_sequence"]), headers["ce_id"].decode())
            for record in system.outside.records["events"]
            for headers in [dict(record.headers)]
        ]
        for name, reader in others.items():
            await until(lambda reader=reader: len(reader.seen) >= len(ours), f"{name} has read all")  # type: ignore[misc]
            # Partitions may come in any order, each in its own.
            assert sorted(reader.seen, key=itemgetter(0)) == sorted(ours, key=itemgetter(0)), name


async def limited(system: System, name: str, bytes_max: int) -> None:
    """Set how large a batch a topic takes, and return when the broker goes by it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=system.bootstrap)
    await admin.start()
    resource = ConfigResource(
        ConfigResourceType.TOPIC, full_topic_name(system.prefix, name), {"max.message.bytes": str(bytes_max)}
    )
    await admin.alter_configs([resource])

    async def goes_by_it() -> bool:
        answers: list[Any] = await admin.describe_configs([ConfigResource(resource.resource_type, resource.name)])
        return ("max.message.bytes", str(bytes_max)) in [entry[:2] for entry in answers[0].resources[0][4]]

    await until(goes_by_it, "the broker goes by it")
    await admin.close()


async def test_what_a_topic_refuses_is_not_left_out_but_comes_when_it_does_so_no_more(system: System) -> None:
    handler, relay = system.process("handler"), system.process("relay")
    for process in (handler, relay):
        process.start()
        await process.ready()
    await limited(system, "events", 100)
    await send_all(system, courses(30))
    await until(lambda: "MessageSizeTooLarge" in relay.health()[1], "the relay says what is wrong")
    assert not system.outside.records["verdicts"], "a transaction is committed that lacks records"
    await limited(system, "events", 4 << 20)
    await until_relayed(system, 30)
    for name in ("verdicts", "events"):
        assert_dense(system.outside.records[name])
    await relay.ready()
