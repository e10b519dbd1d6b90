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

    def count_bytes(self) -> int:
        """Count the bytes of key, value and headers: in a dead letter any of them may take a megabyte."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers
