"""Decides and appends the new records of one batch, in transactions of a limited size."""

from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from services.handler.failing_records import process_up_to_failure
from services.handler.log_session import LogSession
from services.handler.metrics import HandlerTelemetry, build_in_flight_records
from services.kafka.partitioning import group_by_partition
from services.telemetry.consumer_lag import ConsumerLag

Records = Sequence[ConsumerRecord[Any, Any]]


class BatchTransactions:
    """The transactions of one batch.

    ``started_at``: of the batch, in seconds since 1970. ``must_end``: whether no further transaction may begin, because
    partitions are revoked or the process stops.
    """

    def __init__(
        self,
        session: LogSession,
        watermarks: dict[int, int],
        started_at: float,
        telemetry: HandlerTelemetry,
        lag: ConsumerLag,
        must_end: Callable[[], bool],
    ) -> None:
        self._session = session
        self._watermarks = watermarks
        self._started_at = started_at
        self._telemetry = telemetry
        self._lag = lag
        self._must_end = must_end

    async def process(self, new_records: Records) -> Records:
        """Process records; return those that are left for a later batch.

        When a transaction reaches a limit, the partition with the most output in it waits for a later batch, so that
        one customer's large commands do not delay other partitions.
        """
        deferred_records: list[ConsumerRecord[Any, Any]] = []
        while new_records and not (deferred_records and self._must_end()):
            result = await self._session.processor.process(new_records, self._watermarks)
            processed_records = new_records[: len(new_records) - len(result.deferred)]
            self._session.position_tracker.advance(processed_records)
            self._telemetry.record_batch(processed_records, result, self._started_at)
            new_records = result.deferred
            if new_records:
                heaviest = result.heaviest_partition
                deferred_records += [record for record in new_records if record.partition == heaviest]
                new_records = [record for record in new_records if record.partition != heaviest]
                self._lag.start_batch(build_in_flight_records((*new_records, *deferred_records)))
                self._lag.mark_attempted()
        return [*deferred_records, *new_records]

    async def process_partitions(
        self, new_records: Records, errors_to_raise: tuple[type[BaseException], ...]
    ) -> tuple[Records, Records]:
        """Process each partition's records separately; return those of failing partitions, and those left for later.

        Of a failing partition the records before the failing one are processed.
        """
        failing_records: list[ConsumerRecord[Any, Any]] = []
        deferred_records: list[ConsumerRecord[Any, Any]] = []
        for partition_records in group_by_partition(new_records).values():
            failing, deferred = await process_up_to_failure(
                self.process, partition_records, self._watermarks, errors_to_raise
            )
            failing_records += failing
            deferred_records += deferred
        return failing_records, deferred_records
