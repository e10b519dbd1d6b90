"""Build the status of each commands partition from repeated samples of its lag."""

import time
from collections.abc import Mapping
from datetime import datetime

from services.console.group_members import GroupMembers
from services.console.kafka_probe import PartitionLag
from services.console.pipeline_status import PartitionStatus
from services.telemetry.consumer_lag import WINDOW_SAMPLES, LagWindow

# Retries of the handler cannot be seen from outside; after this age the partition counts as stopped.
STOPPED_AFTER_SECONDS = 60


class PartitionSampler:
    """Keeps the last samples of each partition."""

    def __init__(self) -> None:
        self.partitions: tuple[PartitionStatus, ...] = ()
        self._windows: dict[int, LagWindow] = {}

    def add(
        self, at: datetime, watermarks: Mapping[int, int], lags: Mapping[int, PartitionLag], owners: GroupMembers
    ) -> None:
        """Add one sample of all partitions, taken at PostgreSQL's time ``at``."""
        self.partitions = tuple(
            self._sample(at, partition, watermarks[partition], lags[partition], owners.get_owner(partition))
            for partition in sorted(lags)
        )

    def _sample(
        self, at: datetime, partition: int, watermark: int, lag: PartitionLag, owner: str | None
    ) -> PartitionStatus:
        window, oldest_seconds = self._windows.setdefault(partition, LagWindow()), 0.0
        window.add(time.monotonic(), watermark + 1, watermark + 1 + lag.records)
        if lag.oldest_append_time is not None:
            oldest_seconds = max(at.timestamp() - lag.oldest_append_time / 1_000, 0.0)
        state = window.state(attempted=oldest_seconds < STOPPED_AFTER_SECONDS)
        return PartitionStatus.from_lag(partition, watermark, lag.records, oldest_seconds, state, owner)

    @property
    def is_conclusive(self) -> bool:
        """Return whether more samples cannot change a state: nothing waits, or the windows are full."""
        if not any(partition.waiting for partition in self.partitions):
            return True
        return all(len(window.samples) == WINDOW_SAMPLES for window in self._windows.values())
