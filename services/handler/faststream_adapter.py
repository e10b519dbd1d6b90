"""FastStream's messages around our records, whatever is in them."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import ConsumerRecord

RecordBatch = tuple[ConsumerRecord[Any, Any], ...]


async def parse_batch(records: RecordBatch, original: Callable[[RecordBatch], Awaitable[Any]]) -> Any:
    """FastStream's message around our records, without a look at their headers: none of them can make it fail."""
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
    """The records as they are: no JSON work in the framework."""
    return message.raw_message
