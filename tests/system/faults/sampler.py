"""Sample an installation: memory, open files and log lines of its processes each second, and fencings of relays."""

import contextlib
import http.client
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.fixtures.process_runner import Process
from tests.system.faults.installation import Installation

PERIOD_SECONDS = 1
FENCED_METRIC = "moderation_relay_fenced_total"
METRICS_SECONDS = 5
"""Less often than resources: an answer costs the process some milliseconds."""
ANSWER_SECONDS_MAX = 1


class Sampler:
    """Adds ``sample`` lines for each running process. Metrics have their own thread: a paused process gives none."""

    def __init__(self, installation: Installation, metrics_seconds: float = METRICS_SECONDS) -> None:
        self._installation = installation
        self._ended = threading.Event()
        self._log_lines: dict[Path, tuple[int, int]] = {}
        self._threads = [
            threading.Thread(target=self._sample_all, args=(sample, seconds), daemon=True)
            for sample, seconds in ((self._sample_resources, PERIOD_SECONDS), (self._sample_fencings, metrics_seconds))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _sample_all(self, sample: Callable[[Process, int], None], seconds: float) -> None:
        while not self._ended.wait(seconds):
            for process in list(self._installation.processes):
                popen = process.popen
                if popen is not None and popen.poll() is None:
                    # The process may end during the sample, also in the middle of an answer.
                    with contextlib.suppress(OSError, IndexError, ValueError, http.client.HTTPException):
                        sample(process, popen.pid)

    def _sample_resources(self, process: Process, pid: int) -> None:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        self._add(
            process,
            pid,
            memory_mib=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            open_files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            log_lines=self._count_log_lines(process.log),
        )

    def _sample_fencings(self, process: Process, pid: int) -> None:
        if process.name == "relay":
            for family in process.get_metrics(ANSWER_SECONDS_MAX):
                for sample in family.samples:
                    if sample.name == FENCED_METRIC:
                        self._add(process, pid, fenced=sample.value)

    def _add(self, process: Process, pid: int, **values: float) -> None:
        self._installation.history.add("sample", process=process.log.stem, pid=pid, **values)

    def _count_log_lines(self, log: Path) -> int:
        """Count the lines by reading only the new ones."""
        position, lines = self._log_lines.get(log, (0, 0))
        with log.open("rb") as file:
            file.seek(position)
            new = file.read()
        self._log_lines[log] = (position + len(new), lines + new.count(b"\n"))
        return lines + new.count(b"\n")


@contextlib.contextmanager
def watched(installation: Installation) -> Iterator[None]:
    """Sample an installation during the block; the checker then demands these samples, and snapshots of the log."""
    sampler = Sampler(installation)
    installation.history.add("watched", sample_seconds=PERIOD_SECONDS)
    try:
        yield
    finally:
        sampler.stop()
