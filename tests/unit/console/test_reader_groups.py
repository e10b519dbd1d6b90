"""The lag of consumer groups from their offsets, and what the console reports about groups that it cannot read."""

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v2, OffsetFetchResponse_v3

from services.console.committed_offsets import read_offset_response
from services.console.group_lag import GroupLag, PartitionBounds, build_lag
from services.console.reader_groups import Group, describe_denied, describe_gaps, examine_groups

FIRST, SECOND = TopicPartition("events", 0), TopicPartition("events", 1)


def lag(bounds: dict[TopicPartition, tuple[int, int]], offsets: dict[TopicPartition, int]) -> GroupLag:
    """Compare offsets with (beginning, end) of partitions without an open transaction."""
    places = {place: PartitionBounds(beginning, end, end) for place, (beginning, end) in bounds.items()}
    return build_lag("gradebook", "events", places, offsets, "Stable", 2)


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


def test_offset_beyond_the_end_is_reported_instead_of_a_lag_of_zero() -> None:
    row = lag({FIRST: (0, 10), SECOND: (0, 5)}, {FIRST: 700, SECOND: 3})
    assert (row.lag, row.beyond_end, row.without_offset) == (1, 1, 0)
    row = lag({FIRST: (0, 10)}, {FIRST: 11})
    assert (row.lag, row.beyond_end) == (None, 1)
    assert lag({FIRST: (0, 10)}, {FIRST: 10}).beyond_end == 0


def test_offset_of_a_record_in_an_open_transaction_is_not_beyond_the_end() -> None:
    # A reader of uncommitted records gets there.
    row = build_lag("gradebook", "events", {FIRST: PartitionBounds(0, 5, 10)}, {FIRST: 9}, "Stable", 1)
    assert (row.lag, row.beyond_end) == (0, 0)


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (OffsetFetchResponse_v2([], 16), NotCoordinatorForGroupError),
        (OffsetFetchResponse_v3(0, [], 14), GroupLoadInProgressError),
        (OffsetFetchResponse_v3(0, [], 30), GroupAuthorizationFailedError),
        (OffsetFetchResponse_v1([("events", [(0, -1, "", 3)])]), UnknownTopicOrPartitionError),
        (OffsetFetchResponse_v3(0, [("events", [(0, -1, "", 3)])], 0), UnknownTopicOrPartitionError),
    ],
)
def test_refused_request_for_offsets_is_not_taken_for_a_group_without_offsets(
    response: Any, error: type[KafkaError]
) -> None:
    with pytest.raises(error):
        read_offset_response(response)


def test_partitions_without_an_offset_are_left_out() -> None:
    response = OffsetFetchResponse_v3(0, [("events", [(0, 7, "", 0), (1, -1, "", 0)])], 0)
    assert read_offset_response(response) == {FIRST: 7}


async def test_group_that_cannot_be_read_hides_no_other_group() -> None:
    async def read_group(name: str) -> Group:
        if name == "b":
            raise NotCoordinatorForGroupError
        if name == "c":
            raise ConnectionResetError
        return Group(name, {}, set(), "Stable", 1)

    groups, errors = await examine_groups(["a", "b", "c", "d"], read_group)
    assert [group.name for group in groups] == ["a", "d"]
    assert {name: type(error) for name, error in errors.items()} == {
        "b": NotCoordinatorForGroupError,
        "c": ConnectionResetError,
    }


def test_groups_without_permission_are_counted_in_one_hint_with_the_command_that_grants_it() -> None:
    errors: dict[str, Exception] = {f"group-{n}": GroupAuthorizationFailedError() for n in range(7)}
    hint = describe_denied(errors, 9, "prod-console")
    assert "7 of 9 groups are not shown (group-0, group-1, group-2, group-3, group-4, …)" in hint
    assert "--allow-principal User:prod-console --operation Describe --group GROUP" in hint
    assert describe_gaps(errors, listed=9, examined=9) == []
    assert describe_denied({"a": GroupLoadInProgressError()}, 9, None) == ""


def test_other_errors_and_groups_that_were_not_examined_are_named() -> None:
    sentences = describe_gaps({"a": GroupLoadInProgressError()}, listed=300, examined=200)
    assert sentences == [
        "Group a could not be read: Kafka does not answer: GroupLoadInProgressError",
        "The cluster has 300 groups, of which the first 200 by name were examined",
    ]
