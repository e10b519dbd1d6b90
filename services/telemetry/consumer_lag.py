"""How late a consumer is, by partition, and which of four states each partition is in (Burrow's, from our own counts).

A partition is looked at once a second; the last ``WINDOW`` looks decide, and none of them needs a threshold:

- ok: in some look everything was decided, or the lag fell; also while there are fewer looks than that.
- warning: records are decided, yet the lag has not fallen from any look to the next.
- stalled: something waits, none of it was decided in all of the window, and the handler tried.
- stopped: the same, and the handler did not even try; or it has said that it will decide nothing more of the partition.
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
    """What ``moderation_consumer_state`` says."""

    OK = 0
    WARNING = 1
    STALLED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class InFlightRecord:
    """The first undecided record of a partition that the handler has in hand; ``append_time``: seconds since 1970."""

    offset: int
    append_time: float


@dataclass(slots=True)
class LagWindow:
    """What was seen of one partition: (position, end) of the last looks, and when the end was first seen where."""

    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW_SAMPLES))
    end_samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, at: float, position: int, end: int) -> None:
        """A look at ``at``: everything before ``position`` is decided, the next record will be at ``end``."""
        self.samples.append((position, end))
        if not self.end_samples or (end > self.end_samples[-1][1] and len(self.end_samples) < END_SAMPLES_MAX):
            self.end_samples.append((at, end))
        else:
            self.end_samples[-1] = (at if end <= position else self.end_samples[-1][0], end)
        while len(self.end_samples) > 1 and self.end_samples[1][1] <= position:
            self.end_samples.popleft()

    @property
    def lag(self) -> int:
        """Records that are not decided."""
        position, end = self.samples[-1]
        return max(end - position, 0)

    def waiting_since(self) -> float:
        """The last look at which the oldest undecided record was not there yet; the first look if it always was."""
        return self.end_samples[0][0]

    def state(self, attempted: bool) -> PartitionState:
        """``tried``: the handler had a record of the partition in hand within the window."""
        lags = [end - position for position, end in self.samples]
        if len(lags) < WINDOW_SAMPLES or min(lags) <= 0:
            return PartitionState.OK
        if self.samples[0][0] == self.samples[-1][0]:
            return PartitionState.STALLED if attempted else PartitionState.STOPPED
        return PartitionState.WARNING if all(after >= before for before, after in pairwise(lags)) else PartitionState.OK


class ConsumerLag:
    """The lag of one consumer's partitions. ``clock``: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.in_flight: dict[int, InFlightRecord] = {}
        self.stopped: frozenset[int] = frozenset()
        self._attempted_at: dict[int, float] = {}
        self._windows: dict[int, LagWindow] = {}

    def start_batch(self, first_records: Mapping[int, InFlightRecord]) -> None:
        """A batch is in hand, with the first record of each of its partitions."""
        self.in_flight = {
            **first_records,
            **{partition: self.in_flight[partition] for partition in self.stopped & self.in_flight.keys()},
        }

    def mark_attempted(self) -> None:
        """The batch in hand is tried, for the first time or again."""
        self._attempted_at |= dict.fromkeys(self.in_flight, self.clock())

    def finish_batch(self, stopped: Iterable[int]) -> None:
        """The batch is no longer in hand; of the partitions ``refused`` nothing more will be decided."""
        self.stopped = frozenset(stopped)
        self.in_flight = {partition: held for partition, held in self.in_flight.items() if partition in self.stopped}

    def reset(self) -> None:
        """The partitions were assigned anew: nothing is in hand, and nothing is refused yet."""
        self.in_flight, self.stopped = {}, frozenset()

    def sample(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Look at the partitions that are assigned now: where the consumer is, and where they end."""
        now = self.clock()
        for partition in self._windows.keys() - positions.keys():
            del self._windows[partition]
        for partition, position in positions.items():
            record = self.in_flight.get(partition)
            decided_position = position if record is None else min(position, record.offset)
            self._windows.setdefault(partition, LagWindow()).add(now, decided_position, ends[partition])

    def partitions(self) -> Collection[int]:
        """Those looked at."""
        return self._windows.keys()

    def lag_records(self, partition: int) -> int:
        """Undecided records."""
        return self._windows[partition].lag

    def lag_seconds(self, partition: int) -> float:
        """Age of the oldest undecided record, to a second where it is not in hand; 0 if there is none."""
        window, record = self._windows[partition], self.in_flight.get(partition)
        if record is not None:
            return max(self.clock() - record.append_time, 0.0)
        return max(self.clock() - window.waiting_since(), 0.0) if window.lag else 0.0

    def state(self, partition: int) -> PartitionState:
        """Which of the four."""
        if partition in self.stopped:
            return PartitionState.STOPPED
        return self._windows[partition].state(self.clock() - self._attempted_at.get(partition, 0.0) <= WINDOW_SAMPLES)
