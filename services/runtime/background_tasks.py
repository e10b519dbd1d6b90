"""Runs background tasks of a process, and restarts them if they fail."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

from services.runtime.health import Health

LOGGER = logging.getLogger("background")
RESTART_SECONDS = (1.0, 5.0, 30.0)
# A restarted task that has run this long counts as recovered.
RECOVERED_SECONDS = 10.0
StartTask = Callable[[], Coroutine[None, None, None]]


@contextlib.asynccontextmanager
async def run_in_background(health: Health, tasks: Mapping[str, StartTask]) -> AsyncIterator[None]:
    """Run the named tasks while the block runs. Log a task that fails, and restart it after a pause.

    Until the task has run for some seconds, the process is not ready. A cancellation from within the task counts as a
    failure too: aiokafka raises CancelledError when it closes a failed fetch, and the task would otherwise end without
    a trace.
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
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # Any error is logged and retried.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            failure = error
        finally:
            recovery.cancel()
        LOGGER.error("%s failed, restarting in %s s", name, pause, exc_info=failure)
        health.set_component_problem(name, f"{name} failed (see the log) and is being restarted")
        await asyncio.sleep(pause)


async def run_until_first_failure(*coroutines: Coroutine[None, None, None]) -> None:
    """Run endless coroutines concurrently until one ends; raise its error after all others have ended.

    If a coroutine ends as cancelled, which the Kafka client sometimes causes, raise RuntimeError.

    When cancelled, raise CancelledError, whatever the coroutines raise while they end. A TaskGroup would raise their
    errors instead, and a caller that retries after errors would never end.
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
