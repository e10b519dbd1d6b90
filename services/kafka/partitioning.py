"""The shard of a course: the partition that Kafka's default partitioner gives the key ``course_id``."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.partitioner import murmur2

from schemas.topics import DEFAULT_SHARD_COUNT

SHARD_COUNT = DEFAULT_SHARD_COUNT
ALL_SHARDS: Sequence[int] = tuple(range(SHARD_COUNT))


@lru_cache(maxsize=65_536)
def get_course_shard(course_id: int, shard_count: int = SHARD_COUNT) -> int:
    """Return the shard of a course: (murmur2 of the decimal id & 0x7fffffff) mod shard count, as producers do."""
    course_hash: int = murmur2(str(course_id).encode())
    return (course_hash & 0x7FFFFFFF) % shard_count


def group_by_partition(records: Iterable[ConsumerRecord[Any, Any]]) -> dict[int, list[ConsumerRecord[Any, Any]]]:
    """Group the records of one topic by partition, each group in the order given."""
    by_partition: dict[int, list[ConsumerRecord[Any, Any]]] = {}
    for record in records:
        by_partition.setdefault(record.partition, []).append(record)
    return by_partition
