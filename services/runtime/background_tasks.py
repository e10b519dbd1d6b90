"""Tasks that run in the background of a process and never end by themselves."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping

from services.runtime.health import Health

LOGGER = logging.getLogger("background")


@contextlib.asynccontextmanager
async def run_in_background(health: Health, tasks: Mapping[str, Coroutine[None, None, None]]) -> AsyncIterator[None]:
    """Run the tasks, by name, while the block runs. One that fails is logged, and the process is no longer ready.

    A cancellation from within counts as a failure too: aiokafka raises CancelledError where it closes a fetch that
    failed, and a task that ended as cancelled would otherwise be missing without a trace.
    """
    running = [asyncio.create_task(work, name=name) for name, work in tasks.items()]
    stopping = False

    def report_failure(task: "asyncio.Task[None]") -> None:
        if stopping:
            return
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            name = task.get_name()
            LOGGER.error("%s has ended", name, exc_info=error)
            health.set_component_problem(name, f"{name} has ended by an error (see the log): restart the process")

    for task in running:
        task.add_done_callback(report_failure)
    try:
        yield
    finally:
        stopping = True
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def run_until_first_failure(*coroutines: Coroutine[None, None, None]) -> None:
    """Run coroutines that never end concurrently until one ends; raise its error after all others have ended.

    One that ends as cancelled, which the clients cause at times, raises RuntimeError.

    When cancelled it raises CancelledError whatever the coroutines raise while they end. A TaskGroup would raise their
    errors instead, and a caller that retries after those would not end.
    """
    tasks = [asyncio.create_task(work) for work in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            if task.cancelled():
                raise RuntimeError("a background task was cancelled from within")
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
