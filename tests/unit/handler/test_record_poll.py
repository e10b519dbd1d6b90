"""Which records of a poll's first request are kept when the second one returns more."""

from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from services.handler.record_poll import keep_current

ZERO, ONE = TopicPartition("commands", 0), TopicPartition("commands", 1)


def records_of(partition: TopicPartition, *offsets: int) -> list[ConsumerRecord[Any, Any]]:
    return [
        ConsumerRecord(partition.topic, partition.partition, offset, 1, 1, None, b"{}", None, 0, 2, ())
        for offset in offsets
    ]


def test_records_are_kept_where_the_second_request_continues() -> None:
    first = (*records_of(ZERO, 5, 6), *records_of(ONE, 9))
    assert keep_current(first, {ZERO: records_of(ZERO, 7)}, {ZERO, ONE}) == first


def test_records_of_a_partition_that_was_revoked_meanwhile_are_dropped() -> None:
    first = (*records_of(ZERO, 5, 6), *records_of(ONE, 9))
    assert keep_current(first, {ONE: records_of(ONE, 10)}, {ONE}) == first[2:]


def test_records_that_were_fetched_again_are_kept_once() -> None:
    first = (*records_of(ZERO, 5, 6, 7), *records_of(ONE, 9))
    assert keep_current(first, {ZERO: records_of(ZERO, 6, 7, 8)}, {ZERO, ONE}) == (first[0], first[3])
