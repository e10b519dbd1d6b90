"""Detects relays that hang: those whose sessions are no longer used, or whose lanes get no answers."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime


class SilenceWatch:
    """Watches when other sessions were last used, by this process's own clock.

    PostgreSQL's times are compared only for equality, so a jumping clock makes no relay seem silent. A process that
    was itself paused, with or without the whole machine, starts to watch again.
    """

    def __init__(self, seconds_max: float) -> None:
        self._seconds_max = seconds_max
        self._unchanged_since: dict[int, tuple[datetime, float]] = {}
        self._observed_at = 0.0

    def observe(self, last_used_at: Mapping[int, datetime], now: float) -> list[int]:
        """Return the sessions, by pid, that were not used for ``seconds_max``; ``now`` is in monotonic seconds."""
        was_away = now - self._observed_at > self._seconds_max / 2
        self._observed_at = now
        for pid in [pid for pid in self._unchanged_since if was_away or pid not in last_used_at]:
            del self._unchanged_since[pid]
        for pid, used_at in last_used_at.items():
            if self._unchanged_since.get(pid, (None, 0.0))[0] != used_at:
                self._unchanged_since[pid] = (used_at, now)
        return [pid for pid, (_, since) in self._unchanged_since.items() if now - since >= self._seconds_max]


class AnswerWatch:
    """Watches how long a lane waits for PostgreSQL's next answer; ``clock``: in monotonic seconds."""

    def __init__(self, seconds_max: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds_max = seconds_max
        self._clock = clock
        self._asked_at: float | None = None

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Wait for answers while the block runs."""
        self._asked_at = self._clock()
        try:
            yield
        finally:
            self._asked_at = None

    def note_answer(self) -> None:
        """Note one of several answers: from now on the next one is awaited."""
        if self._asked_at is not None:
            self._asked_at = self._clock()

    def is_overdue(self, now: float) -> bool:
        """Return whether an answer has been awaited for ``seconds_max``."""
        return self._asked_at is not None and now - self._asked_at >= self._seconds_max
