"""Handler metrics, updated once per batch."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord

from services.auth.verifier import failure_counts
from services.commands.authorization import CommandAuthorizer
from services.commands.batch_result import BatchResult
from services.commands.parse_errors import COMMAND_TYPES
from services.kafka.partitioning import group_by_partition
from services.telemetry.collectors import Labels
from services.telemetry.consumer_lag import ConsumerLag, InFlightRecord
from services.telemetry.metrics.handler import HandlerMetrics

if TYPE_CHECKING:
    from services.handler.tracing import CommandTraces

Record = ConsumerRecord[Any, Any]


def build_in_flight_records(records: Iterable[Record]) -> dict[int, InFlightRecord]:
    """Describe the first record of each partition, for the consumer lag."""
    return {
        partition: InFlightRecord(partition_records[0].offset, partition_records[0].timestamp / 1_000)
        for partition, partition_records in group_by_partition(records).items()
    }


class HandlerTelemetry:
    """The metrics and traces of one process, shared by its consumers."""

    def __init__(
        self, metrics: HandlerMetrics, authorizer: CommandAuthorizer | None, traces: "CommandTraces | None" = None
    ) -> None:
        self.metrics = metrics
        self.traces = traces
        self._lags: list[ConsumerLag] = []
        for command_type in COMMAND_TYPES:
            metrics.commands.labels(command_type, "accepted", "")
        for outcome in ("committed", "redecided", "failed"):
            metrics.db_transactions.labels(outcome)
        self._repeated_commands, self._redelivered_records = (
            metrics.duplicates.labels(kind) for kind in ("repeated_command", "redelivery")
        )
        metrics.consumer_lag_records.callback = lambda: self._by_partition(ConsumerLag.lag_records)
        metrics.consumer_lag_seconds.callback = lambda: self._by_partition(ConsumerLag.lag_seconds)
        metrics.open_transaction_seconds.callback = lambda: self._by_partition(ConsumerLag.open_transaction_seconds)
        metrics.consumer_state.callback = lambda: self._by_partition(ConsumerLag.state)
        if authorizer is not None:
            metrics.auth_failures.callback = lambda: failure_counts(authorizer.failures)
            metrics.jwks_age.callback = lambda: [((), authorizer.keys.age())]

    def new_lag(self) -> ConsumerLag:
        """Create the lag of another consumer."""
        self._lags.append(ConsumerLag())
        return self._lags[-1]

    def record_batch(self, records: Sequence[Record], result: BatchResult, started_at: float) -> None:
        """Record a committed batch; ``started_at``: seconds since 1970."""
        now, metrics = time.time(), self.metrics
        append_times = [record.timestamp / 1_000 for record in records]
        # The broker's clock may be ahead of this one: avoid negative times.
        metrics.command_seconds.observe([max(now - append_time, 0.0) for append_time in append_times])
        metrics.command_wait_seconds.observe([max(started_at - append_time, 0.0) for append_time in append_times])
        metrics.batch_commands.observe(len(records))
        for event_count in result.event_counts:
            metrics.batch_events.observe(event_count)
        metrics.db_transaction_seconds.observe(result.append_seconds)
        metrics.db_transactions.labels("committed" if result.attempts == 1 else "redecided").inc()
        for labels, count in result.outcomes.items():
            metrics.commands.labels(*labels).inc(count)
            if labels[1] == "duplicate":
                self._repeated_commands.inc(count)
        metrics.other_key_commands.inc(result.other_keys)
        for reason, count in result.dead_letters.items():
            metrics.dead_letters.labels(reason).inc(count)
        if self.traces is not None:
            self.traces.record_batch(records, started_at, now, result.append_seconds)

    def record_redeliveries(self, count: int) -> None:
        """Count records that were already processed."""
        if count:
            self._redelivered_records.inc(count)

    def record_clock_refusal(self) -> None:
        """Count a batch that was not decided because PostgreSQL's clock or this process's is wrong."""
        self.metrics.clock_refusals.inc()

    def record_failure(self) -> None:
        """Count a batch that was not committed, or whose outcome is unknown: it is retried."""
        self.metrics.db_transactions.labels("failed").inc()

    def _by_partition(self, read_value: Callable[[ConsumerLag, int], float]) -> Iterable[tuple[Labels, float]]:
        for lag in self._lags:
            for partition in lag.partitions():
                yield (str(partition),), read_value(lag, partition)
