"""FastStream's parser and decoder for batches: both leave the records unchanged, so that neither can fail."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import ConsumerRecord

RecordBatch = tuple[ConsumerRecord[Any, Any], ...]


async def parse_batch(records: RecordBatch, original: Callable[[RecordBatch], Awaitable[Any]]) -> Any:
    """Wrap records in FastStream's message without decoding their headers, which may be invalid."""
    first = records[0]
    placeholder: ConsumerRecord[Any, Any] = ConsumerRecord(
        topic=first.topic,
        partition=first.partition,
        offset=first.offset,
        timestamp=first.timestamp,
        timestamp_type=first.timestamp_type,
        key=None,
        value=b"",
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=(),
    )
    message = await original((placeholder,))
    message.raw_message = records
    return message


async def identity_decoder(message: Any) -> Any:
    """Return the records unchanged; ``services.commands`` parses them."""
    return message.raw_message
