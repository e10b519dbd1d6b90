"""Clocks that jump: order, ids and versions never depend on a process's clock."""

import os
import time
from pathlib import Path

from tests.system.faults.cells import cell
from tests.system.faults.fault_run import FaultRun, Skipped

LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
)
JUMPS = ("+2h", "-2h", "+40m", "-1d")


def find_library() -> str:
    """Raises Skipped."""
    library = next((path for path in LIBRARIES if Path(path).exists()), None)
    if library is None:
        raise Skipped("libfaketime is not installed (Debian: apt-get install faketime)")
    return library


def clock_settings(library: str, offset: Path) -> dict[str, str]:
    """Return the environment of a process whose clock follows the offset in a file, within a second."""
    return {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        # Timers go on: the wall clock alone jumps.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@cell()
def jump_clock(run: FaultRun) -> None:
    """The clock of a handler, relay or scheduler jumps by hours, back and forth, every other second."""
    library = find_library()
    process = run.chance.choice([run.choose("handler"), run.active_relay(), run.choose("scheduler")])
    offset = run.folder / "faketime"
    offset.write_text("+0\n")
    original = dict(process.environment)
    run.installation.kill(process)
    process.environment |= clock_settings(library, offset)
    try:
        process.start()
        run.installation.wait_until_ready()
        for jump in (*run.chance.sample(JUMPS, 3), "+0"):
            run.injected(f"clock of a {process.name} jumps")
            offset.write_text(f"{jump}\n")
            time.sleep(2)
        run.recovered()
    finally:
        run.installation.kill(process)
        process.environment = {**os.environ, **original}
        process.start()
