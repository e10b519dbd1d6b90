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

WINDOW = 10
ENDS_MAX = 600


class State(IntEnum):
    """What ``moderation_consumer_state`` says."""

    OK = 0
    WARNING = 1
    STALLED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class Held:
    """The first undecided record of a partition that the handler has in hand; ``append_time``: seconds since 1970."""

    offset: int
    append_time: float


@dataclass(slots=True)
class Looks:
    """What was seen of one partition: (position, end) of the last looks, and when the end was first seen where."""

    window: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    ends: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, at: float, position: int, end: int) -> None:
        """A look at ``at``: everything before ``position`` is decided, the next record will be at ``end``."""
        self.window.append((position, end))
        if not self.ends or (end > self.ends[-1][1] and len(self.ends) < ENDS_MAX):
            self.ends.append((at, end))
        else:
            self.ends[-1] = (at if end <= position else self.ends[-1][0], end)
        while len(self.ends) > 1 and self.ends[1][1] <= position:
            self.ends.popleft()

    @property
    def lag(self) -> int:
        """Records that are not decided."""
        position, end = self.window[-1]
        return max(end - position, 0)

    def waiting_since(self) -> float:
        """The last look at which the oldest undecided record was not there yet; the first look if it always was."""
        return self.ends[0][0]

    def state(self, tried: bool) -> State:
        """``tried``: the handler had a record of the partition in hand within the window."""
        lags = [end - position for position, end in self.window]
        if len(lags) < WINDOW or min(lags) <= 0:
            return State.OK
        if self.window[0][0] == self.window[-1][0]:
            return State.STALLED if tried else State.STOPPED
        return State.WARNING if all(after >= before for before, after in pairwise(lags)) else State.OK


class Lag:
    """The lag of one consumer's partitions. ``clock``: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.held: dict[int, Held] = {}
        self.refused: frozenset[int] = frozenset()
        self._tried_at: dict[int, float] = {}
        self._looks: dict[int, Looks] = {}

    def begin(self, firsts: Mapping[int, Held]) -> None:
        """A batch is in hand, with the first record of each of its partitions."""
        self.held = {**firsts, **{partition: self.held[partition] for partition in self.refused & self.held.keys()}}

    def tried(self) -> None:
        """The batch in hand is tried, for the first time or again."""
        self._tried_at |= dict.fromkeys(self.held, self.clock())

    def end(self, refused: Iterable[int]) -> None:
        """The batch is no longer in hand; of the partitions ``refused`` nothing more will be decided."""
        self.refused = frozenset(refused)
        self.held = {partition: held for partition, held in self.held.items() if partition in self.refused}

    def forget(self) -> None:
        """The partitions were assigned anew: nothing is in hand, and nothing is refused yet."""
        self.held, self.refused = {}, frozenset()

    def look(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Look at the partitions that are assigned now: where the consumer is, and where they end."""
        now = self.clock()
        for partition in self._looks.keys() - positions.keys():
            del self._looks[partition]
        for partition, position in positions.items():
            held = self.held.get(partition)
            reached = position if held is None else min(position, held.offset)
            self._looks.setdefault(partition, Looks()).add(now, reached, ends[partition])

    def partitions(self) -> Collection[int]:
        """Those looked at."""
        return self._looks.keys()

    def records(self, partition: int) -> int:
        """Undecided records."""
        return self._looks[partition].lag

    def seconds(self, partition: int) -> float:
        """Age of the oldest undecided record, to a second where it is not in hand; 0 if there is none."""
        looks, held = self._looks[partition], self.held.get(partition)
        if held is not None:
            return max(self.clock() - held.append_time, 0.0)
        return max(self.clock() - looks.waiting_since(), 0.0) if looks.lag else 0.0

    def state(self, partition: int) -> State:
        """Which of the four."""
        if partition in self.refused:
            return State.STOPPED
        return self._looks[partition].state(self.clock() - self._tried_at.get(partition, 0.0) <= WINDOW)
