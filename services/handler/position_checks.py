"""Four checks of a partition's records, each from offsets and append times alone.

A partition's watermark is the highest offset that has been processed, -1 before the first.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import ConsumerRecord

Record = ConsumerRecord[Any, Any]


def is_new(offset: int, watermark: int) -> bool:
    """Return whether a record is still to be processed: records are processed in order of their offsets."""
    return offset > watermark


def has_gap(first_offset: int, watermark: int) -> bool:
    """Return whether offsets are missing between the last processed record and the first one of a batch.

    They are either lost records or transaction markers, which consumers never get: only reading them again shows it.
    """
    return first_offset > watermark + 1


def find_replaced_offset(redelivered_records: Iterable[Record], append_times: Mapping[int, int]) -> int | None:
    """Return the first offset whose record differs from the processed one: the topic was recreated or truncated.

    ``append_times``: of the processed records, by offset. A redelivered record keeps its append time.
    """
    for record in redelivered_records:
        if append_times.get(record.offset) != record.timestamp:
            return record.offset
    return None


def find_lost_watermarks(processed: Mapping[int, int], watermarks: Mapping[int, int]) -> dict[int, int]:
    """Return the log's watermarks that are below the processed offsets: a restored log has lost records."""
    return {partition: watermarks[partition] for partition, last in processed.items() if watermarks[partition] < last}


def find_removed_offsets(watermark: int, beginning_offset: int) -> range:
    """Return the offsets that retention removed before they were processed; ``beginning_offset``: the partition's.

    A topic belongs to one log, so records lost before the first processed one should have been processed too.
    """
    return range(watermark + 1, beginning_offset)
