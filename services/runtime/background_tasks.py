"""Tasks that run in the background of a process, and start again where they fail."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

from services.runtime.health import Health

LOGGER = logging.getLogger("background")
RESTART_SECONDS = (1.0, 5.0, 30.0)
# A task that has run for so long after a failure counts as recovered.
RECOVERED_SECONDS = 10.0
StartTask = Callable[[], Coroutine[None, None, None]]


@contextlib.asynccontextmanager
async def run_in_background(health: Health, tasks: Mapping[str, StartTask]) -> AsyncIterator[None]:
    """Run the tasks, by name, while the block runs. One that fails is logged, and starts again after a pause.

    Until it has run for some seconds the process is not ready. A cancellation from within counts as a failure too:
    aiokafka raises CancelledError where it closes a fetch that failed, and a task that ended as cancelled would
    otherwise be missing without a trace.
    """
    running = [asyncio.create_task(_keep_running(health, name, start), name=name) for name, start in tasks.items()]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _keep_running(health: Health, name: str, start: StartTask) -> None:
    loop = asyncio.get_running_loop()
    for pause in itertools.chain(RESTART_SECONDS, itertools.repeat(RESTART_SECONDS[-1])):
        failure: BaseException
        recovery = loop.call_later(RECOVERED_SECONDS, health.set_component_problem, name, None)
        try:
            await start()
            return
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # Whatever it is: it is logged.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = error
        finally:
            recovery.cancel()
        LOGGER.error("%s has ended, it starts again in %s s", name, pause, exc_info=failure)
        health.set_component_problem(name, f"{name} has ended by an error (see the log) and starts again")
        await asyncio.sleep(pause)


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
