"""Sample an installation: memory, open files and log lines each second, fencings, and the whole log each minute."""

import contextlib
import os
import threading
import time
from pathlib import Path

from tests.fixtures.process_runner import Process
from tests.system.faults.installation import Installation, wait_until

PERIOD_SECONDS = 1
SNAPSHOT_SECONDS = 60
FENCED_METRIC = "moderation_relay_fenced_total"
METRICS_EVERY = 5
"""Metrics are part of every fifth sample: an answer costs the process some milliseconds."""


class Sampler:
    """Adds a ``sample`` line for each running process; a paused one has no metrics."""

    def __init__(self, installation: Installation, metrics_every: int = METRICS_EVERY) -> None:
        self._metrics_every = metrics_every
        self._installation = installation
        self._ended = threading.Event()
        self._log_lines: dict[Path, tuple[int, int]] = {}
        self._snapshot_at: float | None = None
        self._thread = threading.Thread(target=self._sample_all, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def snapshot_if_due(self) -> None:
        """Take a snapshot of the log if the last one is a minute old. Raises TimeoutError."""
        if self._snapshot_at is not None and time.monotonic() - self._snapshot_at < SNAPSHOT_SECONDS:
            return
        name = f"snapshot {len(self._installation.snapshots) + 1}"
        wait_until(lambda: self._installation.take_snapshot(name), "the log can be read")
        self._snapshot_at = time.monotonic()

    def _sample_all(self) -> None:
        number = 0
        while not self._ended.wait(PERIOD_SECONDS):
            number += 1
            for process in list(self._installation.processes):
                popen = process.popen
                if popen is not None and popen.poll() is None:
                    # The process may end during the sample.
                    with contextlib.suppress(OSError, IndexError):
                        self._sample(process, popen.pid, number)

    def _sample(self, process: Process, pid: int, number: int) -> None:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        values: dict[str, float] = {
            "memory_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            "open_files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
            "log_lines": self._count_log_lines(process.log),
        }
        if process.name == "relay" and number % self._metrics_every == 0:
            with contextlib.suppress(OSError):
                values["fenced"] = process.get_metric(FENCED_METRIC)
        self._installation.history.add("sample", process=process.log.stem, pid=pid, **values)

    def _count_log_lines(self, log: Path) -> int:
        """Count the lines by reading only the new ones."""
        position, lines = self._log_lines.get(log, (0, 0))
        with log.open("rb") as file:
            file.seek(position)
            new = file.read()
        self._log_lines[log] = (position + len(new), lines + new.count(b"\n"))
        return lines + new.count(b"\n")
