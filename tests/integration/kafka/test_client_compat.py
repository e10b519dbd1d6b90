"""Private parts of the pinned aiokafka and FastStream behave as client_compat and client_patches need them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import aiokafka.consumer.fetcher
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    ConcurrentTransactions,
    GroupAuthorizationFailedError,
    KafkaError,
    OutOfOrderSequenceNumber,
)
from aiokafka.producer.sender import AddPartitionsToTxnHandler
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import BrokerMetadata
from faststream.kafka import KafkaBroker

from deploy.local.paths import free_port
from services.kafka.client_compat import (
    fetch_partitions,
    read_producer_identity,
    rejoin_after_failed_task,
    replace_poll,
    request_rejoin,
    resume_producer,
    wait_until_idle,
)
from services.kafka.client_options import client_options
from services.kafka.client_patches import (
    TRANSACTION_BACKOFF_SECONDS,
    TolerantMemoryRecords,
    patch_fetcher,
    return_to_bootstrap_servers,
    shorten_transaction_backoff,
)
from services.kafka.producer_closing import close_producer
from tests.fixtures.system import RUN_PREFIX

AIOKAFKA_VERSION = "0.14.0"
FASTSTREAM_VERSION = "0.7.8"
ORIGINAL_CLOSE: Any = Fetcher.close
NO_COMPRESSION, GZIP = 0, 1


def test_pinned_versions_are_those_that_the_workarounds_were_written_for() -> None:
    assert (version("aiokafka"), version("faststream")) == (AIOKAFKA_VERSION, FASTSTREAM_VERSION)


@contextlib.asynccontextmanager
async def create_topic(bootstrap: str, name: str, partitions: int = 1) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(bootstrap))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1)])
        yield admin
    finally:
        await admin.close()


class RawName(str):
    """A header key that is not UTF-8 on the wire."""

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe"


def build_fetched_bytes(compression: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, compression, 0, -1, -1, -1, 1 << 20)
    for offset, name in enumerate(["plain", RawName("?"), "plain"]):
        builder.append(offset, 0, b"key", b"value", [(name, b"\xff")])
    return bytes(builder.build())


def read_all(fetched: Any) -> list[tuple[int, str]]:
    return [(record.offset, record.headers[0][0]) for record in fetched.next_batch()]


@pytest.mark.parametrize("compression", [NO_COMPRESSION, GZIP])
def test_record_with_an_undecodable_header_key_arrives_escaped_and_in_order(compression: int) -> None:
    fetched = build_fetched_bytes(compression)
    with pytest.raises(UnicodeDecodeError):
        read_all(MemoryRecords(fetched))

    assert read_all(TolerantMemoryRecords(fetched)) == [(0, "plain"), (1, "\\xff\\xfe"), (2, "plain")]


def test_patched_fetcher_returns_tolerant_batches() -> None:
    patch_fetcher()
    assert vars(aiokafka.consumer.fetcher)["MemoryRecords"] is TolerantMemoryRecords


def fetcher_with_pending_fetch() -> Any:
    async def wait() -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await wait()

    fetch_task, tasks = asyncio.create_task(run()), {asyncio.create_task(wait())}
    return SimpleNamespace(_closed=False, _fetch_task=fetch_task, _fetch_waiters=(), _pending_tasks=tasks)


async def test_closing_a_consumer_with_a_failed_fetch_does_not_cancel_the_caller() -> None:
    patch_fetcher()
    broken, patched = fetcher_with_pending_fetch(), fetcher_with_pending_fetch()
    await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await ORIGINAL_CLOSE(broken)

    await Fetcher.close(patched)

    assert patched._closed
    assert all(task.done() for task in (patched._fetch_task, *patched._pending_tasks))


async def test_producer_with_an_undeliverable_record_closes_in_time(bootstrap: str) -> None:
    topic = f"{RUN_PREFIX}-deleted"
    async with create_topic(bootstrap, topic) as admin:
        producer = AIOKafkaProducer(**client_options(bootstrap))
        await producer.start()
        await producer.send_and_wait(topic, b"delivered")
        await admin.delete_topics([topic])
        undelivered = await producer.send(topic, b"undeliverable", partition=0)

        async with asyncio.timeout(10):
            await close_producer(producer, 0.2)

    assert producer._sender.sender_task is None or producer._sender.sender_task.done()
    assert undelivered.exception() is not None


class Assignments(ConsumerRebalanceListener):
    """Counts assignments."""

    def __init__(self) -> None:
        self.count = 0

    def on_partitions_revoked(self, revoked: Any) -> None:
        pass

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.count += 1


async def test_requested_rejoin_assigns_the_partitions_again(bootstrap: str) -> None:
    topic, assignments = f"{RUN_PREFIX}-rejoined", Assignments()
    async with create_topic(bootstrap, topic):
        consumer = AIOKafkaConsumer(
            **client_options(bootstrap), group_id=topic, group_instance_id="static", heartbeat_interval_ms=100
        )
        consumer.subscribe([topic], listener=assignments)
        try:
            await consumer.start()
            for expected_count in (1, 2):
                async with asyncio.timeout(30):
                    while assignments.count < expected_count:
                        await consumer.getmany(timeout_ms=50)
                request_rejoin(consumer)
        finally:
            await consumer.stop()


async def poll_for_ever(consumer: AIOKafkaConsumer) -> None:
    while True:
        await consumer.getmany(timeout_ms=50)


async def test_consumer_goes_on_after_a_refused_heartbeat(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    topic, refused = f"{RUN_PREFIX}-heartbeats", 0
    do_heartbeat = GroupCoordinator._do_heartbeat

    async def refuse_once(coordinator: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused == 1:
            raise GroupAuthorizationFailedError(coordinator.group_id)
        return await do_heartbeat(coordinator)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", refuse_once)
    async with create_topic(bootstrap, topic):
        consumer = AIOKafkaConsumer(
            topic, **client_options(bootstrap), group_id=topic, heartbeat_interval_ms=100, auto_offset_reset="earliest"
        )
        producer = AIOKafkaProducer(**client_options(bootstrap))
        await producer.start()
        await consumer.start()
        try:
            async with asyncio.timeout(20):
                with pytest.raises(GroupAuthorizationFailedError):
                    await poll_for_ever(consumer)
                rejoin_after_failed_task(consumer)
                await producer.send_and_wait(topic, b"after", partition=0)
                records: dict[Any, Any] = {}
                # The error was already handed over once more when the group is joined.
                while not records or refused < 3:
                    with contextlib.suppress(GroupAuthorizationFailedError):
                        records |= await consumer.getmany(timeout_ms=50)
        finally:
            await consumer.stop()
            await producer.stop()


async def test_partitions_of_all_topics_are_read_and_no_topic_is_created(bootstrap: str) -> None:
    topic, missing = f"{RUN_PREFIX}-listed", f"{RUN_PREFIX}-missing"
    async with create_topic(bootstrap, topic, partitions=3) as admin:
        consumer = AIOKafkaConsumer(**client_options(bootstrap))
        try:
            await consumer.start()
            partitions = await fetch_partitions(consumer)
        finally:
            await consumer.stop()
        assert partitions[topic] == {0, 1, 2}
        assert missing not in partitions
        assert missing not in await admin.list_topics()


async def send_one(producer: AIOKafkaProducer, topic: str, value: bytes) -> int:
    batch = producer.create_batch()
    batch.append(key=None, value=value, timestamp=None)
    metadata = await (await producer.send_batch(batch, topic, partition=0))
    offset: int = metadata.offset
    return offset


async def test_resumed_producer_sends_no_duplicates_and_skips_no_batch(bootstrap: str) -> None:
    topic = f"{RUN_PREFIX}-resumed"
    partition = TopicPartition(topic, 0)

    def create_producer() -> AIOKafkaProducer:
        return AIOKafkaProducer(**client_options(bootstrap), enable_idempotence=True)

    async with create_topic(bootstrap, topic):
        first, repeating, skipping = create_producer(), create_producer(), create_producer()
        try:
            await first.start()
            identity = await read_producer_identity(first)
            offsets = [await send_one(first, topic, value) for value in (b"one", b"two")]

            resume_producer(repeating, identity, {partition: 1})
            await repeating.start()
            repeated = [await send_one(repeating, topic, value) for value in (b"two", b"three")]

            resume_producer(skipping, identity, {partition: 5})
            await skipping.start()
            with pytest.raises(OutOfOrderSequenceNumber):
                await send_one(skipping, topic, b"six")
        finally:
            for producer in (first, repeating, skipping):
                await producer.stop()
    assert (offsets, repeated) == ([0, 1], [1, 2])


async def test_replaced_poll_is_what_the_subscriber_loop_asks() -> None:
    subscriber = KafkaBroker("127.0.0.1:1").subscriber("commands", batch=True)
    polled: list[Any] = []

    async def poll_once(consumer: AIOKafkaConsumer) -> Any:
        polled.append(consumer)
        subscriber.running = False
        return ()

    assert callable(subscriber.get_msg)
    replace_poll(subscriber, poll_once)
    subscriber.running = True
    consumer: Any = object()
    await asyncio.wait_for(subscriber._run_consume_loop(consumer), 10)
    assert polled == [consumer]


def test_transaction_that_meets_markers_of_the_last_one_is_tried_again_soon() -> None:
    shorten_transaction_backoff()
    manager = SimpleNamespace(txn_partitions=set())
    handler = AddPartitionsToTxnHandler(SimpleNamespace(_txn_manager=manager, _retry_backoff=0.1), [])
    response = SimpleNamespace(errors=[("topic", [(0, ConcurrentTransactions.errno)])])

    assert handler.handle_response(response) == TRANSACTION_BACKOFF_SECONDS < 0.02


async def test_wait_for_a_batch_ends_with_the_batch_or_the_timeout() -> None:
    from faststream._internal.endpoint.subscriber.utils import MultiLock

    subscriber = SimpleNamespace(lock=MultiLock())
    with subscriber.lock:
        await asyncio.wait_for(wait_until_idle(subscriber, 0.01), 10)
        waiting = asyncio.create_task(wait_until_idle(subscriber, 600))
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 10)


async def test_client_that_knows_only_a_broker_that_is_gone_asks_its_bootstrap_servers(bootstrap: str) -> None:
    return_to_bootstrap_servers()
    consumer = AIOKafkaConsumer(**client_options(bootstrap))
    await consumer.start()
    try:
        client: Any = consumer._client
        known = dict(client.cluster._brokers)
        gone = BrokerMetadata(99, "127.0.0.1", free_port(), None)
        client.cluster._brokers = {gone.nodeId: gone}

        assert await client.force_metadata_update()

        assert client.cluster._brokers == known
        assert await consumer.topics() is not None
    finally:
        await consumer.stop()


async def test_client_whose_bootstrap_servers_are_gone_too_reports_a_failed_update() -> None:
    return_to_bootstrap_servers()
    client = AIOKafkaClient(**client_options(f"127.0.0.1:{free_port()}"))
    try:
        gone = BrokerMetadata(99, "127.0.0.1", free_port(), None)
        client.cluster._brokers = {gone.nodeId: gone}

        with pytest.raises(KafkaError):
            await client.fetch_all_metadata()
    finally:
        await client.close()
