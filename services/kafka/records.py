"""Records to be sent to topics."""

from typing import NamedTuple

Header = tuple[str, bytes | None]
Headers = list[Header]


class OutgoingRecord(NamedTuple):
    """A record to send to the partition ``shard`` of ``topic`` (a name without prefix)."""

    topic: str
    shard: int
    key: bytes | None
    value: bytes | None
    headers: Headers
