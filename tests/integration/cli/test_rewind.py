"""``admin rewind`` refuses what it could only damage, before it touches anything in Kafka."""

from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.local.postgres import create_database
from schemas.topics import TOPICS
from services.kafka.client_options import client_options
from services.kafka.records import OutgoingRecord
from services.kafka.topics import full_topic_name
from services.kafka.transactions import close_producer, create_transactional_producer, send_transaction
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX
from tests.integration.cli.conftest import CommandLine

SHARDS = 3
REWINDS = [("topics",), ("start",), ("log",), ("log", "--dry-run")]


@dataclass(frozen=True)
class Installed:
    """A log and its topics, with one record on ``verdicts``; no process runs."""

    cli: CommandLine
    bootstrap: str
    prefix: str

    async def read_offsets(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return the first and the next offset of every partition."""
        consumer = AIOKafkaConsumer(**client_options(self.bootstrap))
        await consumer.start()
        try:
            names = [full_topic_name(self.prefix, name) for name in TOPICS]
            partitions = [TopicPartition(name, number) for name in names for number in range(SHARDS)]
            first, following = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
            return {partition: (first[partition], following[partition]) for partition in partitions}
        finally:
            await consumer.stop()


@pytest.fixture
async def installed(cli: CommandLine, bootstrap: str, postgres: str) -> Installed:
    prefix = f"{RUN_PREFIX}-rewound-{next(RUN_NUMBERS)}"
    settings = {"TOPIC_PREFIX": prefix, "DATABASE_URL": create_database(postgres, prefix)}
    own_cli = CommandLine({**cli.environment, **settings})
    for arguments in (["migrate", "--shards", str(SHARDS)], ["create-topics"]):
        done = await own_cli.run_in_process("admin", *arguments)
        assert done.exit_code == 0, done.stderr
    producer = AIOKafkaProducer(**client_options(bootstrap))
    await producer.start()
    headers = [("ce_id", b"published"), ("ce_sequence", b"1")]
    await producer.send_and_wait(full_topic_name(prefix, "verdicts"), b"{}", partition=0, headers=headers)
    await producer.stop()
    return Installed(own_cli, bootstrap, prefix)


async def test_rewind_with_a_copy_of_the_log_is_refused_and_leaves_the_relays_of_the_original_alone(
    installed: Installed,
) -> None:
    relays_producer = create_transactional_producer(installed.bootstrap, f"{installed.prefix}.relay.0")
    await relays_producer.start()
    copied = await installed.cli.run_in_process("admin", "new-installation")
    assert copied.exit_code == 0, copied.stderr
    before = await installed.read_offsets()

    for arguments in REWINDS:
        refused = await installed.cli.run_in_process("admin", "rewind", *arguments)
        assert refused.exit_code == 2, (arguments, refused.stdout)
        assert f"the topics of prefix {installed.prefix} belong to another log" in refused.stderr

    assert await installed.read_offsets() == before
    record = OutgoingRecord("verdicts", 0, b"key", b"{}", [])
    await send_transaction(relays_producer, [record], lambda name: full_topic_name(installed.prefix, name))
    await close_producer(relays_producer)
