"""Records to be sent to topics."""

import msgspec

Header = tuple[str, bytes | None]
Headers = list[Header]


class OutgoingRecord(msgspec.Struct, frozen=True, gc=False):
    """A record to send to the partition ``shard`` of ``topic`` (a name without prefix).

    A struct, because a relay makes one for each published record: named tuples take three times as long to make.
    """

    topic: str
    shard: int
    key: bytes | None
    value: bytes | None
    headers: Headers
