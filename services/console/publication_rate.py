"""How fast publications come out now: what they have brought out in the last seconds, and when they will be done."""

import time
from collections import deque
from collections.abc import Callable, Sequence

from services.console.pipeline_status import Publication
from services.eventlog.pipeline_queries import Publishing

WINDOW_SECONDS = 10.0
Seen = deque[tuple[float, int]]


class Pace:
    """``clock``: seconds. A rate is that of the last WINDOW_SECONDS, so that one who stops is seen to."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._seen: dict[str, Seen] = {}

    def of(self, found: Sequence[Publishing]) -> tuple[Publication, ...]:
        """Those under way; of all others everything is forgotten."""
        self._seen = {p.command_id: self._seen.get(p.command_id, deque()) for p in found}
        return tuple(self._publication(p, self._seen[p.command_id]) for p in found)

    def _publication(self, found: Publishing, seen: Seen) -> Publication:
        now, published = self.clock(), found.total - found.waiting
        seen.append((now, published))
        while len(seen) > 2 and seen[1][0] <= now - WINDOW_SECONDS:
            seen.popleft()
        since, before = seen[0]
        rate = (published - before) / (now - since) if published > before and now > since else None
        return Publication(
            root_account=found.root_account,
            course=found.course,
            assignment=found.assignment,
            command_id=found.command_id,
            published=published,
            total=found.total,
            per_second=rate,
            seconds_left=None if rate is None else found.waiting / rate,
            still_seconds=now - since if rate is None else 0.0,
        )
