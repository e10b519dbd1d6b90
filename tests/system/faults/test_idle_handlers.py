"""A handler without new commands detects that the log went back, and reports commands hidden by a transaction."""

import json
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.postgres import create_database
from schemas.topics import DEFAULT_SHARD_COUNT
from services.console.kafka_probe import KafkaProbe
from services.kafka.client_options import client_options
from services.kafka.partitioning import get_course_shard
from services.kafka.topics import full_topic_name
from tests.fixtures.canvas.adapter import World
from tests.fixtures.fault_helpers import count_rows, send_all, start_handler, wait_until_processed
from tests.fixtures.process_runner import Json, wait_until
from tests.fixtures.system import System

PROCESSED, FORGOTTEN = 5, 10


def get_partition(world: World) -> int:
    return get_course_shard(world.course_id, DEFAULT_SHARD_COUNT)


def create_courses() -> tuple[World, World]:
    """Create two courses of different partitions."""
    first, second = World(), World()
    while get_partition(second) == get_partition(first):
        second = World()
    return first, second


def updates(world: World, count: int) -> list[Json]:
    return [world.command("upsert_course", {"name": f"Course {n}"}) for n in range(count)]


async def replace_database(server: str, name: str, replacement: str) -> None:
    """Replace a database that is in use with another one at the same address."""
    connection = await asyncpg.connect(server)
    try:
        await connection.execute(f'alter database "{name}" allow_connections false')
        await connection.execute(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = $1", name
        )
        await connection.execute(f'alter database "{name}" rename to "{name}-lost"')
        await connection.execute(f'alter database "{replacement}" rename to "{name}"')
    finally:
        await connection.close()


async def test_idle_handler_reprocesses_records_that_a_restored_log_lost(system: System, postgres: str) -> None:
    kept, cut = create_courses()
    handler = await start_handler(system)
    await send_all(system, [*updates(kept, PROCESSED), *updates(cut, PROCESSED)])
    await wait_until_processed(system, 2 * PROCESSED)
    assert handler.stop() == 0
    name = urlsplit(system.database_url).path.removeprefix("/")
    create_database(system.database_url, f"{name}-backup", template=name)
    handler.start()
    await handler.wait_until_ready()
    await send_all(system, [*updates(kept, FORGOTTEN), *updates(cut, FORGOTTEN)])
    await wait_until_processed(system, 2 * (PROCESSED + FORGOTTEN))
    admin = AIOKafkaAdminClient(**client_options(system.bootstrap))
    await admin.start()
    cut_partition = TopicPartition(full_topic_name(system.prefix, "commands"), get_partition(cut))
    await admin.delete_records({cut_partition: RecordsToDelete(before_offset=PROCESSED + FORGOTTEN)})
    await admin.close()

    rebalances = handler.get_metric("moderation_rebalances_total")
    await replace_database(postgres, name, f"{name}-backup")
    await wait_until_processed(system, 2 * PROCESSED + FORGOTTEN)
    removed = f"records {PROCESSED} to {PROCESSED + FORGOTTEN - 1} of partition {cut_partition.partition}"
    await wait_until(lambda: removed in handler.get_readiness()[1], "what retention has removed is named")
    assert await count_rows(system) == 2 * PROCESSED + FORGOTTEN
    assert handler.get_metric("moderation_rebalances_total") == rebalances
    assert handler.get_metric("moderation_log_rewinds_total") == 2


async def test_commands_hidden_by_an_open_transaction_count_as_lag(system: System) -> None:
    handler, world = await start_handler(system), World()
    commands_topic, partition = full_topic_name(system.prefix, "commands"), get_partition(world)
    producer = AIOKafkaProducer(**client_options(system.bootstrap), transactional_id=f"{system.prefix}.lms")
    await producer.start()
    probe = KafkaProbe(system.bootstrap, system.prefix)
    await probe.start()

    def get_lag(name: str) -> float:
        return handler.get_metric(f"moderation_{name}", partition=str(partition))

    try:
        await producer.begin_transaction()
        await producer.send_and_wait(commands_topic, json.dumps(updates(world, 1)[0]).encode(), partition=partition)
        await send_all(system, updates(world, 3))
        await wait_until(lambda: get_lag("consumer_lag_records") == 4, "what is hidden counts")
        await wait_until(lambda: get_lag("commands_open_transaction_seconds") > 0, "the transaction is named")
        assert (await probe.read_lag({partition: -1}))[partition].records == 4
        assert await count_rows(system) == 0
        await producer.commit_transaction()
        await wait_until_processed(system, 4)
        await wait_until(lambda: get_lag("consumer_lag_records") == 0, "nothing waits")
        assert get_lag("commands_open_transaction_seconds") == 0
        # The transaction's marker is not a command.
        assert (await probe.read_lag({partition: 4}))[partition].records == 0
    finally:
        await probe.stop()
        await producer.stop()
