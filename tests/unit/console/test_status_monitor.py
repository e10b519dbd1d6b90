"""The status monitor on a log that answers everything at once, except how many dead letters are open."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from services.console.pipeline_status import ALL_DONE
from services.console.status_monitor import StatusMonitor
from services.runtime.health import Health


class SlowlyCountedLog:
    """A pool on an empty log that never ends a count of dead letters."""

    def __init__(self) -> None:
        self.is_counting = asyncio.Event()

    async def fetchval(self, _: str) -> datetime:
        return datetime.now(UTC)

    async def fetch(self, *_: object) -> list[object]:
        return []

    async def fetchrow(self, *_: object, **__: object) -> None:
        self.is_counting.set()
        await asyncio.Event().wait()


async def test_slow_count_of_dead_letters_is_not_reported_as_an_outage() -> None:
    pool: Any = SlowlyCountedLog()
    monitor = StatusMonitor(pool, "localhost:9092", "moderation", health := Health())
    polling = [asyncio.create_task(work) for work in (monitor._follow_dead_letters(), monitor._follow_log())]
    try:
        async with asyncio.timeout(10):
            await pool.is_counting.wait()
        assert await monitor.wait_for_change(0, 2), "the status goes on"
        assert (health.not_ready_reason(), monitor.status.problems) == (None, ())
        assert (monitor.status.level, monitor.status.summary()) == (
            "warning",
            f"{ALL_DONE}; open dead letters are not counted yet",
        )
    finally:
        for task in polling:
            task.cancel()
        await asyncio.gather(*polling, return_exceptions=True)
