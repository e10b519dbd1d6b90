"""Startup of all processes: logs, settings, event loop, signals."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from services.config.process import ProcessSettings
from services.kafka.client_patches import patch_fetcher, shorten_transaction_backoff
from services.runtime.failpoints import failpoints
from services.telemetry.json_logging import configure_logging

LOGGER = logging.getLogger("stop")
SettingsT = TypeVar("SettingsT", bound=ProcessSettings)


def run_process(
    process: str,
    settings_type: type[SettingsT],
    main: Callable[[SettingsT], Coroutine[Any, Any, None]],
    *,
    kafka_log_level: int = logging.WARNING,
) -> None:
    """Read the settings and run ``main`` with them until it returns; errors that end it are logged as JSON.

    ``kafka_log_level``: CRITICAL in processes that log broker outages themselves.
    """
    configure_logging(process)
    settings = settings_type()
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("aiokafka").setLevel(kafka_log_level)
    # Needed in every process: closing a client after a broker error would otherwise cancel the caller.
    patch_fetcher()
    shorten_transaction_backoff()
    failpoints.configure(os.environ.get("FAILPOINTS", ""))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(settings))


def limit_stop(seconds: float) -> None:
    """End the process if it has not ended within ``seconds`` from now, when it was asked to stop.

    Clients may wait for answers of brokers for minutes, and a supervisor would kill the process without a word. Call it
    where what is unfinished is begun again by the next process.
    """
    asyncio.get_running_loop().call_later(seconds, _end_unfinished, seconds)


def _end_unfinished(seconds: float) -> None:
    LOGGER.warning("not stopped within %g s, ends now: what is unfinished is done by the next process", seconds)
    logging.shutdown()
    os._exit(0)


async def run_until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM or SIGINT, then cancel the work and wait for its end. Raises what the work raises."""
    stop_requested = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop_requested.set)
    work_task, stop_task = asyncio.create_task(work), asyncio.create_task(stop_requested.wait())
    await asyncio.wait({work_task, stop_task}, return_when=asyncio.FIRST_COMPLETED)
    stop_task.cancel()
    if work_task.done():
        work_task.result()
    work_task.cancel()
    await asyncio.gather(work_task, stop_task, return_exceptions=True)
