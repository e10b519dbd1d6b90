"""FastStream's connection arguments, and its parser and decoder for batches, which leave the records unchanged."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka import ConsumerRecord
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from services.kafka.client_options import client_options

RecordBatch = tuple[ConsumerRecord[Any, Any], ...]


def faststream_security() -> BaseSecurity:
    """Return the ``security`` of a FastStream broker. Raises SettingsError, see ``client_options``."""
    options = client_options("")
    tls = {"ssl_context": options.get("ssl_context")}
    if "sasl_mechanism" not in options:
        return BaseSecurity(**tls)
    kind = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
    return kind[options["sasl_mechanism"]](options["sasl_plain_username"], options["sasl_plain_password"], **tls)


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
