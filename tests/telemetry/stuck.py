"""The handler as a process with a defect: from SIGUSR1 on, whoever looks for a batch's new records never returns.

With SIGUSR2 half a minute passes on the clock that its health reads. It says in its log what has happened.
"""

import asyncio
import functools
import logging
import signal
import time
from typing import Any
from unittest.mock import patch

from services.handler import __main__ as handler
from services.handler.position_tracker import PositionTracker
from services.runtime.health import Health

HALF_A_MINUTE = 30
PASSED, STANDS_STILL = "half a minute has passed", "a batch stands still"
FOUND = PositionTracker.filter_new
LOGGER = logging.getLogger("stuck")


class Clock:
    """Of this machine, but for what was passed over."""

    passed_over = 0

    def __call__(self) -> float:
        return time.monotonic() + self.passed_over

    def pass_over(self) -> None:
        self.passed_over += HALF_A_MINUTE
        LOGGER.warning(PASSED)


async def main() -> None:
    """Run until SIGTERM."""
    stuck, clock = asyncio.Event(), Clock()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stuck.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, clock.pass_over)

    async def filter_new(*arguments: Any) -> Any:
        if stuck.is_set():
            LOGGER.warning(STANDS_STILL)
            await asyncio.Event().wait()
        return await FOUND(*arguments)

    jumping = functools.partial(Health, clock)
    with patch.object(PositionTracker, "filter_new", filter_new), patch.object(handler, "Health", jumping):
        await handler.main()


if __name__ == "__main__":
    asyncio.run(main())
