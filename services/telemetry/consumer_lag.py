"""Consumer lag by partition, and the state of each partition by the rules of LinkedIn's Burrow.

A partition is sampled once a second. Its state follows from the last WINDOW_SAMPLES samples, without any threshold:

- ok: some sample had no lag, or the lag fell between two samples; also while there are fewer samples.
- warning: records are processed, but the lag never fell between two samples.
- stalled: records wait, none was processed within the window, but the handler tried.
- stopped: records wait and the handler did not try, or the handler has stopped the partition.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import pairwise

WINDOW_SAMPLES = 10
END_SAMPLES_MAX = 600


class PartitionState(IntEnum):
    """Values of ``moderation_consumer_state``."""

    OK = 0
    WARNING = 1
    STALLED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class InFlightRecord:
    """The first unprocessed record of a partition in the current batch; ``append_time`` in seconds since 1970."""

    offset: int
    append_time: float


@dataclass(slots=True)
class LagWindow:
    """The last samples (position, end) of one partition, and when each of its recent ends was first seen.

    ``hidden_since``: the last stable offset if it is before the end, and when it was first seen; else None.
    """

    hidden_since: tuple[int, float] | None = None
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW_SAMPLES))
    end_samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, at: float, position: int, end: int) -> None:
        """Add a sample: records before ``position`` are processed, and the next record will get the offset ``end``."""
        self.samples.append((position, end))
        if not self.end_samples or (end > self.end_samples[-1][1] and len(self.end_samples) < END_SAMPLES_MAX):
            self.end_samples.append((at, end))
        else:
            self.end_samples[-1] = (at if end <= position else self.end_samples[-1][0], end)
        while len(self.end_samples) > 1 and self.end_samples[1][1] <= position:
            self.end_samples.popleft()

    def add_stable_end(self, at: float, stable_end: int) -> None:
        """Add the last stable offset to the last sample: before the end while a producer's transaction is open."""
        if stable_end >= self.samples[-1][1]:
            self.hidden_since = None
        elif self.hidden_since is None or self.hidden_since[0] != stable_end:
            self.hidden_since = stable_end, at

    @property
    def lag(self) -> int:
        """Unprocessed records at the last sample."""
        position, end = self.samples[-1]
        return max(end - position, 0)

    def waiting_since(self) -> float:
        """Return the time of the last sample before the oldest unprocessed record appeared, or of the first sample."""
        return self.end_samples[0][0]

    def state(self, attempted: bool) -> PartitionState:
        """Return the state; ``attempted``: the handler tried a record of the partition within the window."""
        lags = [end - position for position, end in self.samples]
        if len(lags) < WINDOW_SAMPLES or min(lags) <= 0:
            return PartitionState.OK
        if self.samples[0][0] == self.samples[-1][0]:
            return PartitionState.STALLED if attempted else PartitionState.STOPPED
        return PartitionState.WARNING if all(after >= before for before, after in pairwise(lags)) else PartitionState.OK


class ConsumerLag:
    """The lag of one consumer's partitions; ``clock`` returns seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.in_flight: dict[int, InFlightRecord] = {}
        self.stopped: frozenset[int] = frozenset()
        self._attempted_at: dict[int, float] = {}
        self._windows: dict[int, LagWindow] = {}

    def start_batch(self, first_records: Mapping[int, InFlightRecord]) -> None:
        """Start a batch, given the first record of each of its partitions."""
        self.in_flight = {
            **first_records,
            **{partition: self.in_flight[partition] for partition in self.stopped & self.in_flight.keys()},
        }

    def mark_attempted(self) -> None:
        """Record an attempt at the current batch."""
        self._attempted_at |= dict.fromkeys(self.in_flight, self.clock())

    def finish_batch(self, stopped: Iterable[int]) -> None:
        """End the current batch; ``stopped`` partitions are not processed any further."""
        self.stopped = frozenset(stopped)
        self.in_flight = {partition: held for partition, held in self.in_flight.items() if partition in self.stopped}

    def reset(self) -> None:
        """Forget the batch and the stopped partitions after partitions were assigned."""
        self.in_flight, self.stopped = {}, frozenset()

    def sample(self, positions: Mapping[int, int], ends: Mapping[int, int], stable_ends: Mapping[int, int]) -> None:
        """Sample the assigned partitions: the consumer's positions, their ends and last stable offsets.

        Forgets other partitions.
        """
        now = self.clock()
        for partition in self._windows.keys() - positions.keys():
            del self._windows[partition]
        for partition, position in positions.items():
            record = self.in_flight.get(partition)
            decided_position = position if record is None else min(position, record.offset)
            window = self._windows.setdefault(partition, LagWindow())
            window.add(now, decided_position, ends[partition])
            window.add_stable_end(now, stable_ends[partition])

    def partitions(self) -> Collection[int]:
        """Return the sampled partitions."""
        return self._windows.keys()

    def lag_records(self, partition: int) -> int:
        """Return the number of unprocessed records."""
        return self._windows[partition].lag

    def lag_seconds(self, partition: int) -> float:
        """Return the oldest unprocessed record's age in seconds, exact within the current batch; 0 if none waits."""
        window, record = self._windows[partition], self.in_flight.get(partition)
        if record is not None:
            return max(self.clock() - record.append_time, 0.0)
        return max(self.clock() - window.waiting_since(), 0.0) if window.lag else 0.0

    def open_transaction_seconds(self, partition: int) -> float:
        """Return for how many seconds one open transaction has hidden records from all readers; 0 without one."""
        hidden_since = self._windows[partition].hidden_since
        return 0.0 if hidden_since is None else max(self.clock() - hidden_since[1], 0.0)

    def state(self, partition: int) -> PartitionState:
        """Return the state of a partition."""
        if partition in self.stopped:
            return PartitionState.STOPPED
        return self._windows[partition].state(self.clock() - self._attempted_at.get(partition, 0.0) <= WINDOW_SAMPLES)
