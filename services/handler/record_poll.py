"""The handler's request for records: without a pause after an empty one, and with what has arrived meanwhile."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from services.handler.faststream_adapter import RecordBatch

# The loop's heartbeat, and its end when the handler stops, wait at most as long.
IDLE_MILLISECONDS = 200
# A broker that has records answers sooner; one that has none would hold back those in hand.
MORE_MILLISECONDS = 5


class RecordPoll:
    """Polls at most ``records_max`` records, or none after IDLE_MILLISECONDS.

    aiokafka fetches once, as soon as the last records are taken, and not again before those are. What lies there when a
    batch ends is therefore what had come when it began; all that came since would wait for one batch more. Hence such
    records are completed by a second request. Records that a request waited for are new, and go at once.
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
                # One partition's unreadable record must not stop the records of others, which are taken already.
                self._error = error
            else:
                records += _flatten(more)
        return records


def _flatten(records: Mapping[TopicPartition, Sequence[ConsumerRecord[Any, Any]]]) -> RecordBatch:
    return tuple(chain.from_iterable(records.values()))
