"""FastStream's messages around our records, whatever is in them."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import ConsumerRecord

Records = tuple[ConsumerRecord[Any, Any], ...]


async def total_parser(records: Records, original: Callable[[Records], Awaitable[Any]]) -> Any:
    """FastStream's message around our records, without a look at their headers: none of them can make it fail."""
    first = records[0]
    bare: ConsumerRecord[Any, Any] = ConsumerRecord(
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
    message = await original((bare,))
    message.raw_message = records
    return message


async def raw_decoder(message: Any) -> Any:
    """The records as they are: no JSON work in the framework."""
    return message.raw_message
