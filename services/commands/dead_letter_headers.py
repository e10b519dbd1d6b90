"""The headers of a dead letter, as the log stores and the topic carries them."""

import base64
import re

import orjson

from services.commands.incoming_command import Record

SECRET_HEADER = re.compile(
    "authorization|auth(?!or)|bearer|jwt|cookie|token|secret|passw|credential|session|signature|(api|access)[-_]?key",
    re.IGNORECASE,
)
"""Names of headers that may hold secrets, such as Proxy-Authorization and X-Api-Key."""


def encode_headers(record: Record) -> bytes:
    """Encode a dead letter's headers as base64, without secrets; names that are not UTF-8 stay escaped.

    Dead letters are kept and published: a reader of the topic could use a producer's credentials.
    """
    return orjson.dumps(
        [
            [base64.b64encode(name.encode()).decode(), None if value is None else base64.b64encode(value).decode()]
            for name, value in record.headers
            if SECRET_HEADER.search(name) is None
        ]
    )
