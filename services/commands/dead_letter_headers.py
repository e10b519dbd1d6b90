"""The headers of a dead letter, as the log stores and the topic carries them."""

import base64
import re
from collections.abc import Sequence

import orjson

from schemas.topics import MIB
from services.commands.incoming_command import Record
from services.kafka.records import Header

SECRET_HEADER = re.compile(
    "authorization|auth(?!or)|bearer|jwt|cookie|token|secret|passw|credential|session|signature|(api|access)[-_]?key",
    re.IGNORECASE,
)
"""Names of headers that may hold secrets, such as Proxy-Authorization and X-Api-Key."""
RECORD_BYTES_MAX = 3 * MIB
"""The size up to which a dead letter keeps its headers' names whole; its topic takes batches of 4 MiB."""
KEPT_CHARACTERS = 12
SHORTENED = "…"
_ESCAPED_BYTE = re.compile(r"\\x[0-9a-f]{2}")
# A header's two lengths take two bytes each up to 8 KiB, little more above.
_LENGTHS_BYTES = 4


def encode_headers(record: Record) -> bytes:
    """Encode a dead letter's headers as base64, without secrets; names that are not UTF-8 stay escaped.

    Dead letters are kept and published: a reader of the topic could use a producer's credentials.
    """
    headers = [(name, value) for name, value in record.headers if SECRET_HEADER.search(name) is None]
    return orjson.dumps(
        [
            [base64.b64encode(name.encode()).decode(), None if value is None else base64.b64encode(value).decode()]
            for name, value in _fit_names(record, headers)
        ]
    )


def _fit_names(record: Record, headers: Sequence[Header]) -> Sequence[Header]:
    """Shorten the escaped names, and mark them, if the dead letter would have more than RECORD_BYTES_MAX.

    Escaped, each byte of a name takes four: a record of 1 MiB could become one that its topic refuses, and the relay
    would try to send it for ever. Shortened, at most three times the bytes of a record remain.
    """
    size = len(record.key or b"") + len(record.value or b"")
    size += sum(len(name.encode()) + len(value or b"") + _LENGTHS_BYTES for name, value in headers)
    if size <= RECORD_BYTES_MAX:
        return headers
    return [(_shorten(name) if _ESCAPED_BYTE.search(name) else name, value) for name, value in headers]


def _shorten(name: str) -> str:
    return name if len(name) <= KEPT_CHARACTERS else name[:KEPT_CHARACTERS] + SHORTENED
