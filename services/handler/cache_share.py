"""Divides a process's cache among its consumers; those without partitions get no share."""


class CacheShare:
    """Divides ``entries_max`` equally among the consumers that have partitions."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._active: set[str] = set()

    def set_active(self, consumer: str, has_partitions: bool) -> None:
        """Note whether a consumer has partitions."""
        if has_partitions:
            self._active.add(consumer)
        else:
            self._active.discard(consumer)

    def entries_max(self) -> int:
        """Return the entries that one consumer with partitions may keep now."""
        return self._entries_max // max(len(self._active), 1)
