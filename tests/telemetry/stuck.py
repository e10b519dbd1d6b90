"""The handler as a process with a defect: from SIGUSR1 on, whoever looks for a batch's new records never returns.

Its health reads a clock that goes ten times as fast, so that a test need not wait half a minute.
"""

import asyncio
import functools
import signal
import time
from typing import Any
from unittest.mock import patch

from services.handler import __main__ as handler
from services.handler.places import Places
from services.health import Health

TIMES = 10
FOUND = Places.new_records


async def main() -> None:
    """Run until SIGTERM."""
    stuck = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stuck.set)

    async def new_records(*arguments: Any) -> Any:
        if stuck.is_set():
            await asyncio.Event().wait()
        return await FOUND(*arguments)

    fast = functools.partial(Health, lambda: TIMES * time.monotonic())
    with patch.object(Places, "new_records", new_records), patch.object(handler, "Health", fast):
        await handler.main()


if __name__ == "__main__":
    asyncio.run(main())
