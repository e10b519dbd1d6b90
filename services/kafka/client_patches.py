"""Changes to aiokafka's own classes, for every client of the process: what each works around, and what it depends on.

See :mod:`services.kafka.client_compat`, which uses private parts of single clients.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import aiokafka.client
import aiokafka.conn
import aiokafka.consumer.fetcher
import aiokafka.producer.sender
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.structs import BrokerMetadata

TRANSACTION_BACKOFF_SECONDS = 0.002
_close_gracefully = aiokafka.conn.AIOKafkaConnection.close
_update_from_known_brokers = aiokafka.client.AIOKafkaClient._metadata_update


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


def return_to_bootstrap_servers() -> None:
    """Let every client of this process ask its bootstrap servers when no broker that it knows answers (KIP-899).

    aiokafka asks them once, at the start. When all brokers fail at once, the first one back names only itself for a
    moment; a client that asks it then knows no other. If that broker fails again, the client waits for it alone.
    """
    aiokafka.client.AIOKafkaClient._metadata_update = _update_metadata  # type: ignore[method-assign]


async def _update_metadata(client: Any, cluster: ClusterMetadata, topics: Any) -> bool:
    if await _update_from_known_brokers(client, cluster, topics):  # type: ignore[no-untyped-call]
        return True
    brokers = [BrokerMetadata(f"bootstrap-{n}", host, port, None) for n, (host, port, _) in enumerate(client.hosts)]
    # The client opens connections only to nodes that its metadata names.
    client.cluster._bootstrap_brokers = {broker.nodeId: broker for broker in brokers}
    for name in client.cluster._bootstrap_brokers:
        connection = await client._get_conn(name)
        if connection is None:
            continue
        try:
            metadata = await connection.send(MetadataRequest(list(topics) if topics else None))
        except (KafkaError, TimeoutError):
            continue
        finally:
            connection.close()
        if metadata.brokers:
            cluster.update_metadata(metadata)
            return True
    return False


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
