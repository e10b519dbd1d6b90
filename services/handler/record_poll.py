"""The handler's poll: without a pause after an empty one, and including records that have arrived since."""

from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.handler.faststream_adapter import RecordBatch

# The loop's heartbeat, and its end at shutdown, wait at most this long.
IDLE_MILLISECONDS = 200
# Short: a broker with records answers sooner, and one without would delay the records already received.
MORE_MILLISECONDS = 5
OFFSETS_END = 1 << 63
"""Above every offset."""


class RecordPoll:
    """Polls at most ``records_max`` records, or none after IDLE_MILLISECONDS.

    aiokafka prefetches once, as soon as the previous records are taken, and not again until the new ones are taken.
    So the prefetched records at the end of a batch had arrived when it began; later ones would wait for another batch.
    A second request therefore completes prefetched records. Records that a request waited for are returned at once.
    """

    def __init__(self, records_max: int) -> None:
        self._records_max = records_max
        self._error: Exception | None = None

    async def __call__(self, consumer: AIOKafkaConsumer) -> RecordBatch:
        """Return the next records. Raises what ``getmany`` raises."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        records = _flatten(await consumer.getmany(max_records=self._records_max))
        if not records:
            return _flatten(await consumer.getmany(timeout_ms=IDLE_MILLISECONDS, max_records=self._records_max))
        if len(records) < self._records_max:
            try:
                more = await consumer.getmany(
                    timeout_ms=MORE_MILLISECONDS, max_records=self._records_max - len(records)
                )
            except Exception as error:  # noqa: BLE001  # Raised by the next poll.
                # One partition's unreadable record must not hold back records of others, which are already taken.
                self._error = error
            else:
                records = keep_current(records, more, consumer.assignment()) + _flatten(more)
        return records


def keep_current(
    records: RecordBatch,
    more: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]],
    assignment: Set[TopicPartition],
) -> RecordBatch:
    """Return the records of partitions still assigned, up to where ``more`` continues.

    A rebalance or a seek back between two requests reassigns partitions, or fetches records again.
    """
    continued_at = {partition: found[0].offset for partition, found in more.items() if found}
    # By number, because a name for each record takes longer than the comparison; all are of one topic.
    ends = {partition.partition: continued_at.get(partition, OFFSETS_END) for partition in assignment}
    return tuple(record for record in records if record.offset < ends.get(record.partition, -1))


def _flatten(records: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]]) -> RecordBatch:
    return tuple(chain.from_iterable(records.values()))
