"""Which records are new, whether records were lost, and whether the topic was recreated."""

import pytest
from aiokafka import ConsumerRecord

from services.handler.position_checks import (
    Record,
    find_lost_watermarks,
    find_removed_offsets,
    find_replaced_offset,
    has_gap,
    is_new,
)


def build_record(offset: int, append_time: int) -> Record:
    return ConsumerRecord("commands", 3, offset, append_time, 1, None, b"{}", None, 0, 2, ())


def test_only_records_above_the_watermark_are_new() -> None:
    assert [offset for offset in range(6) if is_new(offset, 3)] == [4, 5]


def test_every_record_of_a_fresh_partition_is_new() -> None:
    assert is_new(0, -1)


@pytest.mark.parametrize(
    ("first_offset", "watermark", "gap"), [(4, 3, False), (5, 3, True), (2, 3, False), (0, -1, False), (1, -1, True)]
)
def test_batch_that_skips_an_offset_has_a_gap(first_offset: int, watermark: int, gap: bool) -> None:
    assert has_gap(first_offset, watermark) == gap


def test_redelivered_records_have_the_append_times_of_the_processed_ones() -> None:
    redelivered = [build_record(2, 200), build_record(3, 300)]
    assert find_replaced_offset(redelivered, {2: 200, 3: 300}) is None


def test_record_with_another_append_time_is_not_the_processed_one() -> None:
    redelivered = [build_record(2, 200), build_record(3, 333), build_record(4, 444)]
    assert find_replaced_offset(redelivered, {2: 200, 3: 300, 4: 400}) == 3


def test_record_at_an_offset_where_none_was_processed_replaces_a_transaction_marker() -> None:
    assert find_replaced_offset([build_record(2, 200), build_record(3, 300)], {2: 200}) == 3


@pytest.mark.parametrize(
    ("watermark", "beginning_offset", "removed"),
    [(2, 5, [3, 4]), (2, 3, []), (2, 0, []), (-1, 2, [0, 1]), (-1, 0, [])],
    ids=["two unprocessed", "only processed", "nothing removed", "before the first decision", "new"],
)
def test_unprocessed_records_that_retention_removed_are_named(
    watermark: int, beginning_offset: int, removed: list[int]
) -> None:
    assert list(find_removed_offsets(watermark, beginning_offset)) == removed


def test_watermark_below_the_last_known_one_is_reported_as_lost() -> None:
    assert find_lost_watermarks({0: 19, 1: 5, 2: -1}, {0: 9, 1: 7, 2: -1, 3: 0}) == {0: 9}
