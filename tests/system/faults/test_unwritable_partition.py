"""The gateway's producer on three brokers of which one is killed: one of two partitions is below min ISR."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
from aiokafka import TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.local.cluster import KafkaCluster
from deploy.local.kafka import client_settings
from services.gateway.command_producer import CommandProducer, NotSent, ProducerRecord
from services.gateway.metrics import METRICS
from services.kafka.topic_reader import read_to_end
from tests.fixtures.process_runner import wait_until
from tests.fixtures.running_producer import run_producer

ASSIGNMENT = [[1, 2], [1, 3]]
"""The brokers of each partition; the second one is killed."""
PARTITIONS = list(range(len(ASSIGNMENT)))
STUCK, WRITABLE = PARTITIONS
COURSES = {DefaultPartitioner()(str(course).encode(), PARTITIONS, PARTITIONS): course for course in range(1_001, 1_050)}
"""A course for each partition."""
RECORD_BYTES_MAX = 100_000
PENDING_SECONDS = 0.5
ACKNOWLEDGED_SECONDS_MAX = 120.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    brokers = KafkaCluster(tmp_path_factory.mktemp("cluster"))
    try:
        brokers.start()
        yield brokers
    finally:
        brokers.kill()
        brokers.remove()


@pytest.fixture
async def topic(cluster: KafkaCluster) -> AsyncIterator[str]:
    """Create a topic while all brokers run; they all run again afterwards."""
    name = f"commands-{uuid.uuid4().hex[:8]}"
    settings = {"min.insync.replicas": "2", "max.message.bytes": str(RECORD_BYTES_MAX)}
    topic = NewTopic(name, len(ASSIGNMENT), replica_assignment=ASSIGNMENT, config=settings)
    admin = AdminClient(client_settings(cluster.address))
    admin.create_topics([topic])[name].result(30)
    yield name
    await asyncio.to_thread(cluster.start)
    await wait_until(lambda: asyncio.to_thread(cluster.is_in_sync), "all replicas are in sync")


async def kill_second_broker(cluster: KafkaCluster, topic: str, producer: CommandProducer) -> None:
    """Kill it, and wait until its partitions are known to lack it."""
    cluster.brokers[1].kill()

    def is_noticed() -> bool:
        partitions = (
            AdminClient(client_settings(cluster.address)).list_topics(topic, timeout=5).topics[topic].partitions
        )
        return partitions[STUCK].isrs == [1] and partitions[STUCK].leader == 1

    await wait_until(lambda: asyncio.to_thread(is_noticed), "the cluster notices the dead broker")
    await wait_until(lambda: producer.problem is None, "commands can be sent again")


def build_record(partition: int, value: bytes) -> ProducerRecord:
    return ProducerRecord(str(uuid.uuid4()), COURSES[partition], value, [])


async def send(
    producer: CommandProducer, partition: int, value: bytes, seconds: float = ACKNOWLEDGED_SECONDS_MAX
) -> int | None:
    """Send a record; return its offset."""
    coordinates = await producer.send(build_record(partition, value), seconds)
    assert coordinates is None or coordinates[0] == partition
    return None if coordinates is None else coordinates[1]


async def is_sent(producer: CommandProducer, partition: int, value: bytes) -> bool:
    """Send a record unless the producer is being replaced or probes a dead broker."""
    with contextlib.suppress(NotSent):
        return await send(producer, partition, value) is not None
    return False


async def read_values(cluster: KafkaCluster, topic: str, partition: int) -> list[bytes | None]:
    batches = read_to_end(cluster.address, [TopicPartition(topic, partition)])
    return [record.value async for records in batches for record in records]


def count_replacements() -> float:
    return METRICS.registry.get_sample_value("moderation_producer_recreated_total") or 0.0


async def test_partition_below_min_isr_stops_only_its_own_courses(cluster: KafkaCluster, topic: str) -> None:
    replacements = count_replacements()
    async with run_producer(cluster.address, topic) as producer:
        assert await send(producer, STUCK, b"before") == 0
        await kill_second_broker(cluster, topic, producer)
        assert await send(producer, STUCK, b"first", PENDING_SECONDS) is None
        values = [b"%d " % number * 500 for number in range(100, 130)]
        sends = [asyncio.create_task(send(producer, STUCK, value)) for value in values]
        while not any(each.done() for each in sends):
            await wait_until(lambda: is_sent(producer, WRITABLE, b"other"), "another course's command is sent")
            await asyncio.sleep(PENDING_SECONDS / 5)
        await asyncio.to_thread(cluster.start)
        results = await asyncio.gather(*sends, return_exceptions=True)

        assert {type(result) for result in results} == {int, NotSent}
        taken = [value for value, result in zip(values, results, strict=True) if isinstance(result, int)]
        assert await read_values(cluster, topic, STUCK) == [b"before", b"first", *taken]
        assert count_replacements() == replacements


async def test_replaced_producer_sends_nothing_after_its_successor_began(cluster: KafkaCluster, topic: str) -> None:
    replacements = count_replacements()
    async with run_producer(cluster.address, topic) as producer:
        assert [await send(producer, partition, b"before") for partition in PARTITIONS] == [0, 0]
        await kill_second_broker(cluster, topic, producer)
        assert await send(producer, STUCK, b"5", PENDING_SECONDS) is None
        # The broker refuses a record, and for the gap in the sequence numbers the next one, and with it the producer.
        for value in (b" " * 2 * RECORD_BYTES_MAX, b"follows"):
            with pytest.raises(NotSent, match="Kafka refused"):
                await send(producer, WRITABLE, value)
        await wait_until(lambda: is_sent(producer, WRITABLE, b"other"), "the new producer sends")
        assert count_replacements() == replacements + 1
        newer = asyncio.create_task(send(producer, STUCK, b"7"))
        await asyncio.to_thread(cluster.start)

        assert await newer == 1
        assert await send(producer, STUCK, b"8") == 2
        assert await read_values(cluster, topic, STUCK) == [b"before", b"7", b"8"]
