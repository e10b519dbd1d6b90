"""``admin rewind`` with another log's topics, and with progress that is lost in part."""

from dataclasses import dataclass, replace

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from deploy.local.postgres import create_database
from schemas.topics import TOPICS
from services.eventlog.installation import fetch_installation
from services.eventlog.postgres import READER
from services.kafka.client_options import client_options
from services.kafka.producer_closing import close_producer
from services.kafka.progress_topic import read_progress, write_progress
from services.kafka.records import OutgoingRecord
from services.kafka.relay_progress import RelayProgress
from services.kafka.topics import full_topic_name
from services.kafka.transactions import create_transactional_producer, send_transaction
from tests.fixtures.system import RUN_NUMBERS, RUN_PREFIX
from tests.integration.cli.conftest import CommandLine

SHARDS = 3
REWINDS = [("topics",), ("start",), ("log",), ("log", "--dry-run")]


@dataclass(frozen=True)
class Installed:
    """A log and the prefix of its topics; no process runs."""

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
async def migrated(cli: CommandLine, bootstrap: str, postgres: str) -> Installed:
    """Return a log without topics."""
    prefix = f"{RUN_PREFIX}-rewound-{next(RUN_NUMBERS)}"
    settings = {"TOPIC_PREFIX": prefix, "DATABASE_URL": create_database(postgres, prefix)}
    own_cli = CommandLine({**cli.environment, **settings})
    done = await own_cli.run_in_process("admin", "migrate", "--shards", str(SHARDS))
    assert done.exit_code == 0, done.stderr
    return Installed(own_cli, bootstrap, prefix)


async def send_verdict(installed: Installed) -> None:
    """Publish record 1 of shard 0."""
    producer = AIOKafkaProducer(**client_options(installed.bootstrap))
    await producer.start()
    headers = [("ce_id", b"published"), ("ce_sequence", b"1")]
    await producer.send_and_wait(full_topic_name(installed.prefix, "verdicts"), b"{}", partition=0, headers=headers)
    await producer.stop()


async def test_rewind_with_a_copy_of_the_log_is_refused_and_leaves_the_relays_of_the_original_alone(
    migrated: Installed,
) -> None:
    created = await migrated.cli.run_in_process("admin", "create-topics")
    assert created.exit_code == 0, created.stderr
    await send_verdict(migrated)
    relays_producer = create_transactional_producer(migrated.bootstrap, f"{migrated.prefix}.relay.0")
    await relays_producer.start()
    copied = await migrated.cli.run_in_process("admin", "new-installation")
    assert copied.exit_code == 0, copied.stderr
    before = await migrated.read_offsets()

    for arguments in REWINDS:
        refused = await migrated.cli.run_in_process("admin", "rewind", *arguments)
        assert refused.exit_code == 2, (arguments, refused.stdout)
        assert f"the topics of prefix {migrated.prefix} belong to another log" in refused.stderr

    assert await migrated.read_offsets() == before
    record = OutgoingRecord("verdicts", 0, b"key", b"{}", [])
    await send_transaction(relays_producer, [record], lambda name: full_topic_name(migrated.prefix, name))
    await close_producer(relays_producer)


async def test_rewind_keeps_the_progress_of_lanes_while_that_of_another_lane_is_lost(migrated: Installed) -> None:
    names = {name: full_topic_name(migrated.prefix, name) for name in TOPICS}
    admin = AIOKafkaAdminClient(**client_options(migrated.bootstrap))
    await admin.start()
    await admin.create_topics([NewTopic(name, SHARDS, 1) for name in names.values()])
    installation = await fetch_installation(migrated.cli.environment["DATABASE_URL"], "test", READER)
    initial = RelayProgress.initial(str(installation.id), SHARDS)
    published = replace(
        initial,
        sequences={**initial.sequences, "verdicts": (1000, 300, 0)},
        replays={"verdicts": (0, 1000, 0)},
    )
    await write_progress(migrated.bootstrap, names["progress"], published, [0, 1])
    await send_verdict(migrated)
    # As retention does.
    await admin.delete_records({TopicPartition(names["verdicts"], 0): RecordsToDelete(before_offset=-1)})
    await admin.close()

    named = await migrated.cli.run_in_process("admin", "rewind", "topics", "verdicts")
    rewound = await migrated.cli.run_in_process("admin", "rewind", "topics")

    assert named.exit_code == 2
    assert "the relay's progress is lost (lanes 2); nothing was changed" in named.stderr
    assert rewound.exit_code == 0, rewound.stderr
    progress = await read_progress(migrated.bootstrap, names["progress"], SHARDS)
    assert progress is not None
    # Nothing is left on the topic: the second shard is filled again from its start.
    assert progress.sequences["verdicts"] == (1000, 0, 0)
    assert [progress.replay_end("verdicts", shard) for shard in range(SHARDS)] == [1000, 1000, 0]
