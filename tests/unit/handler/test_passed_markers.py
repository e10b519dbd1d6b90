"""Offsets that a consumer passed without a record count as markers, as long as the log has the record before them."""

from typing import Any

from aiokafka import TopicPartition

from services.handler.passed_markers import PassedMarkers
from services.handler.topic_offsets import PartitionOffsets

PLACE = TopicPartition("commands", 3)


class PositionedConsumer:
    """A consumer at offset 101 of one partition."""

    def assignment(self) -> set[TopicPartition]:
        return {PLACE}

    async def position(self, place: TopicPartition) -> int:
        return 101


async def pass_markers(watermark: int, beginning: int) -> PassedMarkers:
    consumer: Any = PositionedConsumer()
    markers = PassedMarkers()
    await markers.note_positions(consumer, PLACE.topic, {PLACE.partition: watermark})
    markers.begin_check()
    markers.confirm({PLACE.partition: PartitionOffsets(beginning, 101, 101)})
    return markers


async def test_offsets_between_the_last_record_and_the_position_were_markers() -> None:
    markers = await pass_markers(watermark=99, beginning=0)

    assert markers.end(PLACE.partition, 99) == 101


async def test_log_that_lost_its_last_records_does_not_take_them_for_markers() -> None:
    markers = await pass_markers(watermark=99, beginning=0)

    assert markers.end(PLACE.partition, 50) == 0


async def test_position_that_was_moved_to_the_beginning_passed_nothing() -> None:
    markers = await pass_markers(watermark=50, beginning=101)

    assert markers.end(PLACE.partition, 50) == 0


async def test_position_that_was_noted_after_the_offsets_were_asked_for_waits_for_later_ones() -> None:
    consumer: Any = PositionedConsumer()
    markers = PassedMarkers()
    markers.begin_check()
    before_retention = {PLACE.partition: PartitionOffsets(0, 101, 101)}
    await markers.note_positions(consumer, PLACE.topic, {PLACE.partition: 50})
    markers.confirm(before_retention)

    assert markers.end(PLACE.partition, 50) == 0

    markers.begin_check()
    markers.confirm({PLACE.partition: PartitionOffsets(101, 101, 101)})
    assert markers.end(PLACE.partition, 50) == 0


async def test_position_that_was_noted_during_a_check_is_confirmed_by_the_next_one() -> None:
    consumer: Any = PositionedConsumer()
    markers = PassedMarkers()
    markers.begin_check()
    await markers.note_positions(consumer, PLACE.topic, {PLACE.partition: 99})
    markers.confirm({PLACE.partition: PartitionOffsets(0, 101, 101)})
    markers.begin_check()
    markers.confirm({PLACE.partition: PartitionOffsets(0, 101, 101)})

    assert markers.end(PLACE.partition, 99) == 101
