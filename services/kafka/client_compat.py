"""Every use of private parts of aiokafka and FastStream: what each works around, and what it depends on.

An upgrade of either client may break any of them, visible only at run time. Therefore pyproject.toml pins both exactly,
and tests/integration/kafka/test_client_compat.py tests each function and names the version it was written for; what
needs TLS is tested in tests/system/secure/test_kafka_access.py. Remove a function as soon as upstream makes it
unnecessary.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import aiokafka.conn
import aiokafka.consumer.fetcher
import aiokafka.producer.sender
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

Poll: TypeAlias = Callable[[AIOKafkaConsumer], Coroutine[Any, Any, Any]]
TRANSACTION_BACKOFF_SECONDS = 0.002
_close_gracefully = aiokafka.conn.AIOKafkaConnection.close


def patch_fetcher() -> None:
    """Let every consumer of this process read records with undecodable header keys, and stop after a broker error.

    aiokafka decodes header keys as UTF-8 inside its fetch (no upstream issue known; FastStream has the same bug for
    header values, #2458). One record with another key makes every fetch of its partition fail, before any of our code
    runs. With the patch such a key arrives escaped (``\\xff``). For stopping, see :func:`_close_fetcher`.
    """
    vars(aiokafka.consumer.fetcher)["MemoryRecords"] = TolerantMemoryRecords
    aiokafka.consumer.fetcher.Fetcher.close = _close_fetcher  # type: ignore[method-assign]


def shorten_transaction_backoff() -> None:
    """Let every producer of this process begin a transaction sooner after the last one.

    While a broker still writes the markers of a committed transaction, it answers the first record of the next one with
    CONCURRENT_TRANSACTIONS (KAFKA-5477). Markers take a few milliseconds; aiokafka waits 20 ms before it tries again.
    """
    vars(aiokafka.producer.sender)["BACKOFF_OVERRIDE"] = TRANSACTION_BACKOFF_SECONDS


def close_tls_at_once() -> None:
    """Let every client of this process close TLS connections without waiting for the broker.

    ``stop()`` waits until its connections are closed, and closing TLS waits until the broker closes it too: 30 s in
    uvloop and asyncio, if an answer was still on its way, such as that to a fetch. A relay reads with several consumers
    before it takes over a lane. What matters was acknowledged before a client stops.
    """
    aiokafka.conn.AIOKafkaConnection.close = _close_connection  # type: ignore[method-assign]


def _close_connection(connection: Any, reason: Any = None, exc: Any = None) -> Any:
    writer = connection._writer
    closed = _close_gracefully(connection, reason, exc)  # type: ignore[no-untyped-call]
    if writer is not None and writer.get_extra_info("sslcontext") is not None:
        writer.transport.abort()
    return closed


class _TolerantBytes(bytearray):
    """Bytes whose slices always decode: what is not UTF-8 is escaped."""

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return _TolerantBytes(part) if isinstance(index, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, "backslashreplace")


class TolerantRecordBatch:
    """A record batch that yields every record: from the first undecodable key on, pure Python parses the records."""

    def __init__(self, batch: Any, raw: bytes) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        last_offset = -1
        try:
            for record in self._batch:
                last_offset = record.offset
                yield record
        except UnicodeDecodeError:
            slow_batch = _DefaultRecordBatchPy(self._raw)
            slow_batch._maybe_uncompress()
            slow_batch._buffer = _TolerantBytes(slow_batch._buffer)
            yield from (record for record in slow_batch if record.offset > last_offset)


class TolerantMemoryRecords:
    """aiokafka's MemoryRecords with tolerant batches."""

    def __init__(self, fetched: bytes) -> None:
        self._records = MemoryRecords(fetched)
        self._raw_batches = _MemoryRecordsPy(fetched)

    def size_in_bytes(self) -> int:
        """See MemoryRecords."""
        return self._records.size_in_bytes()

    def has_next(self) -> bool:
        """See MemoryRecords."""
        return self._records.has_next()

    def next_batch(self) -> TolerantRecordBatch:
        """See MemoryRecords."""
        raw = bytes(self._raw_batches._next_slice or b"")
        self._raw_batches._cache_next()
        return TolerantRecordBatch(self._records.next_batch(), raw)


async def _close_fetcher(fetcher: Any) -> None:
    """Close a Fetcher as aiokafka does, without raising the cancellation of its own tasks into the caller (#647).

    aiokafka cancels each pending fetch and awaits it. A fetch that backs off after a broker error ends as cancelled, so
    ``AIOKafkaConsumer.stop()`` raises CancelledError: the caller ends as if it had been cancelled itself, and the
    client's connections stay open.
    """
    fetcher._closed = True
    fetcher._fetch_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await fetcher._fetch_task
    for waiter in fetcher._fetch_waiters:
        fetcher._notify(waiter)
    for task in fetcher._pending_tasks:
        task.cancel()
    await asyncio.gather(*fetcher._pending_tasks, return_exceptions=True)


async def close_producer_now(producer: AIOKafkaProducer) -> None:
    """Close a producer whose ``stop()`` was cancelled, without waiting for brokers (#1101).

    ``stop()`` waits without limit for records that brokers do not take. This is what it does after that.
    """
    # One after the other: a sender that is still running would open connections that stay open.
    await asyncio.gather(producer._sender.close(), return_exceptions=True)
    await producer.client.close()


def request_rejoin(consumer: AIOKafkaConsumer) -> None:
    """Ask the group to assign its partitions again.

    In aiokafka the group's leader notices new partitions. A group whose static members were all restarted has no
    leader (KIP-345: they keep their assignment without joining), and added partitions would stay unread.
    """
    if consumer._coordinator is not None:
        consumer._coordinator.request_rejoin()


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
