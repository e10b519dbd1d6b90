"""Canvas's global ids: shard * 10**13 + local id, as live events carry them where an installation has a shard."""

GLOBAL_ID_BASE = 10**13


def to_local_id(number: int, shard: int | None) -> int:
    """Return the local id of a global id of the shard; any other number unchanged."""
    quotient, local_id = divmod(number, GLOBAL_ID_BASE)
    return local_id if quotient == shard and local_id else number
