"""What the handler tells about itself, counted a batch at a time."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord

from services.auth.verifier import by_reason
from services.commands.authorization import Authority
from services.commands.batch_result import Settled
from services.commands.parse_errors import TYPES
from services.telemetry.collectors import Labels
from services.telemetry.consumer_lag import Held, Lag
from services.telemetry.metrics import HandlerMetrics

if TYPE_CHECKING:
    from services.handler.tracing import CommandTraces

Record = ConsumerRecord[Any, Any]


def first_of_each(records: Iterable[Record]) -> dict[int, Held]:
    """The first record of each partition."""
    found: dict[int, Held] = {}
    for record in records:
        if record.partition not in found:
            found[record.partition] = Held(record.offset, record.timestamp / 1_000)
    return found


class Telling:
    """Shared by the subscribers of one process."""

    def __init__(
        self, metrics: HandlerMetrics, authority: Authority | None, traces: "CommandTraces | None" = None
    ) -> None:
        self.metrics = metrics
        self.traces = traces
        self._lags: list[Lag] = []
        for command_type in TYPES:
            metrics.commands.labels(command_type, "accepted", "")
        for outcome in ("committed", "redecided", "failed"):
            metrics.db_transactions.labels(outcome)
        self._repeated, self._redelivered = (
            metrics.duplicates.labels(kind) for kind in ("repeated_command", "redelivery")
        )
        metrics.consumer_lag_records.read = lambda: self._by_partition(Lag.records)
        metrics.consumer_lag_seconds.read = lambda: self._by_partition(Lag.seconds)
        metrics.consumer_state.read = lambda: self._by_partition(Lag.state)
        if authority is not None:
            metrics.auth_failures.read = lambda: by_reason(authority.failures)
            metrics.jwks_age.read = lambda: [((), authority.keys.age())]

    def new_lag(self) -> Lag:
        """The lag of one subscriber."""
        self._lags.append(Lag())
        return self._lags[-1]

    def settled(self, records: Sequence[Record], settled: Settled, begun: float) -> None:
        """A batch that was begun at ``begun`` (seconds since 1970) is committed."""
        now, metrics = time.time(), self.metrics
        appended = [record.timestamp / 1_000 for record in records]
        # Two clocks: what seems to have been decided before it was sent waited for no time.
        metrics.command_seconds.observe([max(now - at, 0.0) for at in appended])
        metrics.command_wait_seconds.observe([max(begun - at, 0.0) for at in appended])
        metrics.batch_commands.observe(len(records))
        metrics.db_transaction_seconds.observe(settled.append_seconds)
        metrics.db_transactions.labels("committed" if settled.attempts == 1 else "redecided").inc()
        for labels, count in settled.outcomes.items():
            metrics.commands.labels(*labels).inc(count)
            if labels[1] == "duplicate":
                self._repeated.inc(count)
        for reason, count in settled.dead_letters.items():
            metrics.dead_letters.labels(reason).inc(count)
        if self.traces is not None:
            self.traces.decided(records, begun, now, settled.append_seconds)

    def redelivered(self, count: int) -> None:
        """So many records of a batch had been decided before."""
        if count:
            self._redelivered.inc(count)

    def failed(self) -> None:
        """A batch was not committed, or nobody knows: it is tried again."""
        self.metrics.db_transactions.labels("failed").inc()

    def _by_partition(self, read: Callable[[Lag, int], float]) -> Iterable[tuple[Labels, float]]:
        for lag in self._lags:
            for partition in lag.partitions():
                yield (str(partition),), read(lag, partition)
