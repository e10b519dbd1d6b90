"""Divides a process's cache among its consumers; those without partitions get no share."""


class CacheShare:
    """Divides ``bytes_max`` equally among the consumers that have partitions."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._active: set[str] = set()

    def set_active(self, consumer: str, has_partitions: bool) -> None:
        """Note whether a consumer has partitions."""
        if has_partitions:
            self._active.add(consumer)
        else:
            self._active.discard(consumer)

    def bytes_max(self) -> int:
        """Return the bytes that one consumer with partitions may keep now."""
        return self._bytes_max // max(len(self._active), 1)
