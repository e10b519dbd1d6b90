"""How records reach us whatever is in them; below FastStream, where no handler could help.

A header key that is not UTF-8 makes aiokafka's own fetch fail for ever and blocks the partition. Here such a key
arrives escaped (``\\xff``), and the record is an ordinary one. The names are aiokafka's private ones: the version is
pinned and a test watches them.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import aiokafka.consumer.fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


class _TolerantBytes(bytearray):
    """Bytes whose slices decode without ever failing."""

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        return _TolerantBytes(part) if isinstance(index, slice) else part

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, "backslashreplace")


class TolerantRecordBatch:
    """A record batch of aiokafka's that hands on every record."""

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
    """aiokafka's MemoryRecords, with tolerant batches."""

    def __init__(self, fetched: bytes) -> None:
        self._records = MemoryRecords(fetched)
        self._raw_batches = _MemoryRecordsPy(fetched)

    def size_in_bytes(self) -> int:
        """As aiokafka's."""
        return self._records.size_in_bytes()

    def has_next(self) -> bool:
        """As aiokafka's."""
        return self._records.has_next()

    def next_batch(self) -> TolerantRecordBatch:
        """As aiokafka's, tolerant."""
        raw = bytes(self._raw_batches._next_slice or b"")
        self._raw_batches._cache_next()
        return TolerantRecordBatch(self._records.next_batch(), raw)


async def _close_fetcher(fetcher: Any) -> None:
    """Close a Fetcher as aiokafka does, without raising the cancellation of its own tasks into the caller.

    aiokafka cancels each pending fetch and awaits it. A fetch that backs off after a broker error ends as cancelled,
    so ``AIOKafkaConsumer.stop()`` raises CancelledError: the caller's task ends as if somebody had cancelled it, and
    the client's connections stay open.
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


def patch_fetcher() -> None:
    """Make every consumer of this process read with tolerant batches, and stop after a broker error without raising."""
    vars(aiokafka.consumer.fetcher)["MemoryRecords"] = TolerantMemoryRecords
    aiokafka.consumer.fetcher.Fetcher.close = _close_fetcher  # type: ignore[method-assign]
