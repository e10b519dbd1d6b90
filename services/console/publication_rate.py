"""Measures how fast publications reach the topic, and estimates when they are complete."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from services.console.pipeline_status import PublicationStatus
from services.eventlog.pipeline_queries import PublicationProgress

WINDOW_SECONDS = 10.0
Samples = deque[tuple[float, int]]


class PublicationRates:
    """Rates over the last WINDOW_SECONDS: short, to detect a stalled publication soon. ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._samples: dict[str, Samples] = {}

    def update(self, publications: Sequence[PublicationProgress]) -> tuple[PublicationStatus, ...]:
        """Add a sample of the unfinished publications; forget the finished ones."""
        self._samples = {p.command_id: self._samples.get(p.command_id, deque()) for p in publications}
        return tuple(self._measure(p, self._samples[p.command_id]) for p in publications)

    def _measure(self, publication: PublicationProgress, samples: Samples) -> PublicationStatus:
        now, published = self.clock(), publication.total - publication.waiting
        samples.append((now, published))
        while len(samples) > 2 and samples[1][0] <= now - WINDOW_SECONDS:
            samples.popleft()
        sampled_at, published_before = samples[0]
        rate = (
            (published - published_before) / (now - sampled_at)
            if published > published_before and now > sampled_at
            else None
        )
        return PublicationStatus(
            root_account=publication.root_account,
            course=publication.course,
            assignment=publication.assignment,
            command_id=publication.command_id,
            published=published,
            total=publication.total,
            per_second=rate,
            seconds_left=None if rate is None else publication.waiting / rate,
            stalled_seconds=now - sampled_at if rate is None else 0.0,
        )
