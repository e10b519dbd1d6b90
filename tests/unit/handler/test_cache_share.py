"""Consumers without partitions get no share of a process's cache."""

from services.handler.cache_share import CacheShare


def test_cache_is_shared_by_the_consumers_that_have_partitions() -> None:
    share = CacheShare(600_000)
    for number in range(64):
        share.set_active(f"commands-{number}", has_partitions=number < 12)
    assert share.bytes_max() == 50_000
    for number in range(11):
        share.set_active(f"commands-{number}", has_partitions=False)
    assert share.bytes_max() == 600_000


def test_whole_cache_is_available_if_no_consumer_has_partitions() -> None:
    assert CacheShare(600_000).bytes_max() == 600_000
