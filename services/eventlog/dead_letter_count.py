"""The number of open dead letters, counted apart from other work.

Settled dead letters stay in the table, so that a count takes longer the more were ever received. A count that is
slow or fails makes this number old, and nothing else late.
"""

import time
from collections.abc import Callable
from datetime import datetime

import asyncpg

from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.postgres import Pool

COUNT_SECONDS_MAX = 30.0
BACKOFF_FACTOR = 20
"""The pause between two counts is this many times the duration of the first one, also if it failed."""


class DeadLetterCounter:
    """Keeps the last count: how many dead letters are open, and when the oldest was recorded. None before the first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last_count: tuple[int, datetime | None] | None = None
        self._clock = clock
        self._next_at = 0.0

    async def count_when_due(self, connection: "asyncpg.Connection[asyncpg.Record] | Pool") -> None:
        """Count, unless the pause after the last count is not over. If it fails, the last count stays.

        Raises:
            POSTGRES_ERRORS: PostgreSQL does not answer, or not within COUNT_SECONDS_MAX.
        """
        started_at = self._clock()
        if started_at < self._next_at:
            return
        try:
            self.last_count = await DeadLetterReader(connection).count_open(COUNT_SECONDS_MAX)
        finally:
            ended_at = self._clock()
            self._next_at = ended_at + BACKOFF_FACTOR * (ended_at - started_at)
