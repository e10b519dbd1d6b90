"""A course's shard is the partition that Kafka's own producers choose for the key ``course_id``."""

import pytest
from aiokafka.partitioner import murmur2

from services.kafka.partitioning import ALL_SHARDS, SHARD_COUNT, get_course_shard


@pytest.mark.parametrize(
    ("key", "expected_hash"),
    # The values that Kafka's own tests state (org.apache.kafka.common.utils.UtilsTest), signed as Java has them.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hash_equals_kafkas_own(key: bytes, expected_hash: int) -> None:
    assert murmur2(key) == expected_hash & 0xFFFFFFFF


def test_courses_spread_over_all_shards() -> None:
    assert {get_course_shard(course_id) for course_id in range(1, 200)} == set(ALL_SHARDS) == set(range(SHARD_COUNT))
    # Pinned: an installation's courses must keep their shards, no matter which library computes the hash.
    assert [get_course_shard(course_id) for course_id in (1, 1001, 9_223_372_036_854_775_807)] == [3, 0, 9]
