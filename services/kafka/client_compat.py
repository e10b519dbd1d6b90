"""Every use of private parts of a client of aiokafka or FastStream: what each works around, and what it depends on.

Changes to aiokafka's own classes, for every client of the process, are in :mod:`services.kafka.client_patches`.

An upgrade of either client may break any of them, visible only at run time. Therefore pyproject.toml pins both exactly,
and tests/integration/kafka/test_client_compat.py tests each function and names the version it was written for; what
needs TLS is tested in tests/system/secure/test_kafka_access.py. Remove a function as soon as upstream makes it
unnecessary.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError, NoError, ProducerClosed, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

Poll: TypeAlias = Callable[[AIOKafkaConsumer], Coroutine[Any, Any, Any]]
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


async def end_producer(producer: AIOKafkaProducer) -> None:
    """End a producer's requests and connections and fail its records, without waiting for brokers (#1101).

    Afterwards ``stop()`` returns at once. Only :func:`services.kafka.producer_closing.close_producer` uses this.
    """
    # Without a pause between them: nothing is sent any more even if this is cancelled.
    tasks = _cancel_requests(producer)
    _fail_records(producer)
    _abort_connections(producer)
    if tasks:
        await asyncio.wait(tasks)
    # A close() that was cancelled leaves cancelled futures, which the next one raises.
    await asyncio.gather(producer.client.close(), return_exceptions=True)


def _cancel_requests(producer: AIOKafkaProducer) -> list[asyncio.Task[Any]]:
    """Cancel the sender and its requests; a cancelled sender waits for each as long as its broker may take."""
    sender_task = producer._sender.sender_task
    if sender_task is None or sender_task.done():
        return []
    # aiokafka keeps the requests in a local variable.
    tasks = [sender_task, *sender_task.get_coro().cr_frame.f_locals.get("tasks", ())]
    for task in tasks:
        task.cancel()
    return tasks


def _fail_records(producer: AIOKafkaProducer) -> None:
    """Fail the records that are not sent any more; aiokafka leaves their futures pending."""
    accumulator = producer._message_accumulator
    accumulator._exception = ProducerClosed("the producer was closed")
    queued = [batch for batches in accumulator._batches.values() for batch in batches]
    accumulator._batches.clear()
    for batch in {*queued, *accumulator._pending_batches}:
        # aiokafka removes a batch that has ended from this set, in which a batch that waits for a retry is not.
        accumulator._pending_batches.add(batch)
        was_sent = batch.retry_count > 0
        batch.failure(
            KafkaConnectionError("the producer was closed before the brokers acknowledged the record")
            if was_sent
            else ProducerClosed("the producer was closed before it sent the record")
        )
        batch._drain_waiter.exception()  # Retrieved, so that asyncio does not log it as unhandled.


def _abort_connections(producer: AIOKafkaProducer) -> None:
    for connection in producer.client._conns.values():
        transport = None if connection._writer is None else connection._writer.transport
        if transport is not None and not transport.is_closing():
            # The kernel would still deliver a sent request, minutes later if the network is interrupted until then.
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
            transport.abort()


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Ask the group to assign its partitions again.

    In aiokafka the group's leader notices new partitions. A group whose static members were all restarted has no
    leader (KIP-345: they keep their assignment without joining), and added partitions would stay unread.
    """
    if consumer._coordinator is not None:
        consumer._coordinator.request_rejoin()


def rejoin_after_failed_task(consumer: AIOKafkaConsumer) -> None:
    """Join the group again if the consumer's heartbeats, or its reads of committed offsets, ended with an error.

    aiokafka starts these tasks again only when it joins the group. After a heartbeat that the broker refused, each
    poll raises the same error for ever, even if the broker would take the next one.
    """
    tasks = [getattr(consumer._coordinator, name, None) for name in ("_heartbeat_task", "_commit_refresh_task")]
    if any(task is not None and task.done() and not task.cancelled() and task.exception() for task in tasks):
        request_rejoin(consumer)


async def fetch_partitions(consumer: AIOKafkaConsumer) -> Mapping[str, frozenset[int]]:
    """Read the partitions of all topics, whatever the consumer is assigned. Raises KafkaError.

    ``AIOKafkaConsumer.topics()`` makes the same request but returns only names. ``AIOKafkaAdminClient`` asks one random
    broker and fails if that one is down; this function tries one after the other.
    """
    cluster = await consumer._client.fetch_all_metadata()
    return {topic: frozenset(cluster.partitions_for_topic(topic) or ()) for topic in cluster.topics()}


class BatchOrigin(NamedTuple):
    """Offsets of a record batch on its partition, and its producer; transaction markers are not data."""

    base_offset: int
    next_offset: int
    producer_id: int
    is_transactional: bool
    is_data: bool


async def fetch_batch_origins(
    consumer: AIOKafkaConsumer, positions: Mapping[TopicPartition, int], partition_bytes_max: int
) -> dict[TopicPartition, list[BatchOrigin]]:
    """Fetch from the positions and return the origin of each batch, committed or not. Raises KafkaError.

    aiokafka does not return the producer and transaction of a record. Records are not decoded, so a whole batch costs
    as much as one record. Partitions without new records or without a leader are left out.
    """
    by_node: dict[int, dict[str, list[tuple[int, int, int]]]] = {}
    for (topic, partition), offset in positions.items():
        node = consumer._client.cluster.leader_for_partition(TopicPartition(topic, partition))
        if node is not None and node >= 0:
            by_node.setdefault(node, {}).setdefault(topic, []).append((partition, offset, partition_bytes_max))
    origins: dict[TopicPartition, list[BatchOrigin]] = {}
    for node, topics in by_node.items():
        request = FetchRequest(0, 1, partition_bytes_max * len(positions), 0, list(topics.items()))
        response = await consumer._client.send(node, request)
        for topic, partitions in response.topics:
            for partition, error_code, *_, raw in partitions:
                error = for_code(error_code)
                if error is not NoError:
                    raise error(f"{topic} partition {partition}")
                topic_partition = TopicPartition(topic, partition)
                batches = _read_batch_origins(raw or b"", positions[topic_partition])
                if batches:
                    origins[topic_partition] = batches
    return origins


def _read_batch_origins(raw: bytes, position: int) -> list[BatchOrigin]:
    records, origins = MemoryRecords(raw), []
    while records.has_next():
        batch: Any = records.next_batch()
        # The broker returns whole batches; the first one may begin before the position.
        if batch is not None and batch.next_offset > position:
            origins.append(
                BatchOrigin(
                    batch.base_offset,
                    batch.next_offset,
                    batch.producer_id,
                    bool(batch.is_transactional),
                    not batch.is_control_batch,
                )
            )
    return origins


class ProducerIdentity(NamedTuple):
    """The id and epoch by which the broker recognises an idempotent producer."""

    id: int
    epoch: int


async def read_producer_identity(producer: AIOKafkaProducer) -> ProducerIdentity:
    """Wait for the identity that the broker assigned to a started idempotent producer; aiokafka does not expose it."""
    manager = producer._txn_manager
    await manager.wait_for_pid()
    return ProducerIdentity(manager.producer_id, manager.producer_epoch)


def resume_producer(
    producer: AIOKafkaProducer, identity: ProducerIdentity, sent_counts: Mapping[TopicPartition, int]
) -> None:
    """Let a producer that is not yet started continue for an earlier one, after ``sent_counts`` batches by partition.

    The broker then rejects batches that the earlier producer had sent as duplicates, and refuses gaps, across
    processes. Clients support this only with a transactional id, whose start would abort a transaction in progress.
    """
    manager = producer._txn_manager
    manager.set_pid_and_epoch(identity.id, identity.epoch)
    for topic_partition, count in sent_counts.items():
        manager.increment_sequence_number(topic_partition, count)


def replace_poll(subscriber: Any, poll: Poll) -> None:
    """Replace the request for records in a FastStream subscriber's loop.

    FastStream has no hook for a poll that returns nothing or fails: middlewares, parsers and listeners see only
    records. Without a hook, a loop that has ended looks like an idle one. Its own poll sleeps after an empty one.
    """
    vars(subscriber)["get_msg"] = poll


async def wait_until_idle(subscriber: Any, seconds_max: float) -> None:
    """Wait until a started FastStream subscriber has no batch in progress, at most ``seconds_max``.

    FastStream waits like this only when it stops; we need it before partitions are revoked.
    """
    await subscriber.lock.wait_release(seconds_max)
