"""A handler with a bug: after SIGUSR1 the search for a batch's new records never returns.

SIGUSR2 advances the clock of its health by half a minute. Both are logged.
"""

import asyncio
import functools
import logging
import signal
import time
from typing import Any
from unittest.mock import patch

from services.config.handler import HandlerSettings
from services.handler import __main__ as handler
from services.handler.position_tracker import PositionTracker
from services.runtime.health import Health
from services.runtime.main import run_process

HALF_A_MINUTE = 30
TIME_SKIPPED, BATCH_HANGS = "half a minute has passed", "a batch hangs"
ORIGINAL_NEW_RECORDS = PositionTracker.filter_new
LOGGER = logging.getLogger("stuck")


class Clock:
    """The machine's clock, advanced by the skipped seconds."""

    skipped_seconds = 0

    def __call__(self) -> float:
        return time.monotonic() + self.skipped_seconds

    def skip(self) -> None:
        self.skipped_seconds += HALF_A_MINUTE
        LOGGER.warning(TIME_SKIPPED)


async def main(settings: HandlerSettings) -> None:
    """Run until SIGTERM."""
    hang, clock = asyncio.Event(), Clock()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, hang.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, clock.skip)

    async def filter_new(*arguments: Any) -> Any:
        if hang.is_set():
            LOGGER.warning(BATCH_HANGS)
            await asyncio.Event().wait()
        return await ORIGINAL_NEW_RECORDS(*arguments)

    health_with_clock = functools.partial(Health, clock)
    with patch.object(PositionTracker, "filter_new", filter_new), patch.object(handler, "Health", health_with_clock):
        await handler.main(settings)


if __name__ == "__main__":
    run_process("handler", HandlerSettings, main)
