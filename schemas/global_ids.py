"""Canvas's global ids: shard * 10**13 + local id, used in live events if an installation has a shard."""

GLOBAL_ID_BASE = 10**13


def to_local_id(number: int, shard: int | None) -> int:
    """Convert a global id of the shard to the local id; return any other number unchanged."""
    quotient, local_id = divmod(number, GLOBAL_ID_BASE)
    return local_id if quotient == shard and local_id else number
