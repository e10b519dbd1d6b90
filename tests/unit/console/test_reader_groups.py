"""The lag of consumer groups, from offsets, and what the console says about groups that it may not describe."""

from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError, GroupLoadInProgressError

from services.console.reader_groups import GroupLag, build_lag, describe_gaps

FIRST, SECOND = TopicPartition("events", 0), TopicPartition("events", 1)


def lag(bounds: dict[TopicPartition, tuple[int, int]], offsets: dict[TopicPartition, int]) -> GroupLag:
    return build_lag("gradebook", "events", bounds, offsets, "Stable", 2)


def test_group_that_committed_the_offset_before_or_after_the_last_marker_has_no_lag() -> None:
    assert lag({FIRST: (0, 10), SECOND: (0, 5)}, {FIRST: 10, SECOND: 4}).lag == 0


def test_lag_is_the_sum_of_the_partitions() -> None:
    # Two records and a marker wait in one partition, one record and a marker in the other.
    assert lag({FIRST: (0, 10), SECOND: (0, 5)}, {FIRST: 7, SECOND: 3}).lag == 3


def test_records_that_retention_removed_do_not_count_and_are_named_as_lost() -> None:
    row = lag({FIRST: (100, 110)}, {FIRST: 40})
    assert (row.lag, row.lost) == (9, True)
    assert not lag({FIRST: (100, 110)}, {FIRST: 100}).lost


def test_partition_with_records_and_without_an_offset_is_counted() -> None:
    row = lag({FIRST: (0, 10), SECOND: (0, 5)}, {FIRST: 10})
    assert (row.lag, row.without_offset) == (0, 1)
    assert lag({FIRST: (0, 10), SECOND: (5, 5)}, {FIRST: 10}).without_offset == 0


def test_lag_of_a_group_without_offsets_is_not_known() -> None:
    row = lag({FIRST: (0, 10)}, {})
    assert (row.lag, row.without_offset) == (None, 0)


def test_missing_permission_is_named_with_the_groups() -> None:
    errors = {f"group-{n}": GroupAuthorizationFailedError() for n in range(7)}
    (sentence,) = describe_gaps(errors, listed=9, examined=9)
    assert "7 of 9 groups (group-0, group-1, group-2, group-3, group-4, …)" in sentence
    assert "grant DESCRIBE" in sentence


def test_other_errors_and_groups_that_were_not_examined_are_named() -> None:
    sentences = describe_gaps({"a": GroupLoadInProgressError()}, listed=300, examined=200)
    assert sentences == [
        "Group a could not be described: GroupLoadInProgressError",
        "The cluster has 300 groups, of which the first 200 by name were examined",
    ]
