"""Startup of all processes: logs, settings, event loop, signals, garbage collection."""

import asyncio
import ctypes
import gc
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from services.config.process import ProcessSettings
from services.kafka.client_compat import patch_fetcher, shorten_transaction_backoff
from services.runtime.failpoints import failpoints
from services.telemetry.json_logging import configure_logging

SettingsT = TypeVar("SettingsT", bound=ProcessSettings)
# Objects that survive the youngest generation belong to a batch or a request in progress.
YOUNG_OBJECTS_MAX = 50_000
GC_THRESHOLDS = (20, 100)
# glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


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


def freeze_startup_objects(young_objects_max: int = YOUNG_OBJECTS_MAX) -> None:
    """Exempt existing objects from garbage collection, and collect once ``young_objects_max`` others were created.

    Modules, routes and settings live as long as the process; traversing them in each collection costs a third of the
    throughput.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(young_objects_max, *GC_THRESHOLDS)


def keep_freed_memory(buffer_bytes_max: int, free_bytes_max: int) -> None:
    """Let the C library reuse freed buffers of up to ``buffer_bytes_max``, and keep ``free_bytes_max`` free at most.

    By default it returns large buffers to the system; the page faults of the next ones cost more than filling them.
    C libraries without ``mallopt`` are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, buffer_bytes_max)
        mallopt(M_TRIM_THRESHOLD, free_bytes_max)


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
