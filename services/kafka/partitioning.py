"""Which shard a course lives in: the partition Kafka's default partitioner gives the key ``course_id``."""

from functools import lru_cache

SHARD_COUNT = 12


@lru_cache(maxsize=65_536)
def get_course_shard(course_id: int, shard_count: int = SHARD_COUNT) -> int:
    """Shard of a course: (murmur2 of the id in decimal & 0x7fffffff) mod shards, as Kafka's producers do."""
    return (murmur2(str(course_id).encode()) & 0x7FFFFFFF) % shard_count


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 (org.apache.kafka.common.utils.Utils.murmur2), unsigned."""
    multiplier, mask = 0x5BD1E995, 0xFFFFFFFF
    value = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ (word >> 24)) * multiplier & mask
        value = (value * multiplier & mask) ^ word
    rest = data[whole:]
    if rest:
        value = (value ^ int.from_bytes(rest, "little")) * multiplier & mask
    value = (value ^ (value >> 13)) * multiplier & mask
    return value ^ (value >> 15)
