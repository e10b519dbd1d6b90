"""Status and restart of the processes of the running stack."""

import os
import signal
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.paths import terminate

STOP_SECONDS = 15
READY_SECONDS = 60


@dataclass(frozen=True)
class ProcessStatus:
    """``pid`` is None while it does not run; ``problem`` states why it is not ready, None if it is."""

    name: str
    pid: int | None
    url: str
    problem: str | None


def find_pids(supervisor_pid: int, names: tuple[str, ...]) -> dict[str, int]:
    """Return the process ids of the supervisor's children by name."""
    pids = {}
    for child in Path(f"/proc/{supervisor_pid}/task/{supervisor_pid}/children").read_text().split():
        try:
            arguments = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        for name in names:
            if f"services.{name}" in arguments:
                pids[name] = int(child)
    return pids


def read_statuses(supervisor_pid: int | None, urls: Mapping[str, str]) -> list[ProcessStatus]:
    """Return the status of each process; ``urls``: by name."""
    pids = find_pids(supervisor_pid, tuple(urls)) if supervisor_pid is not None else {}
    return [ProcessStatus(name, pids.get(name), url, readiness_problem(url)) for name, url in urls.items()]


def readiness_problem(url: str) -> str | None:
    """Return why the process with that base URL is not ready, None if it is."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2):
            return None
    except OSError as error:
        return str(error)


def restart(supervisor_pid: int, name: str, url: str) -> str | None:
    """End a process, which the supervisor restarts, and wait until it is ready. Return why it is not, else None.

    Kills a process that does not end within 15 s, because it hangs or is stopped.
    """
    pid = find_pids(supervisor_pid, (name,)).get(name)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
        terminate(pid, signal.SIGCONT, STOP_SECONDS)
    deadline = time.monotonic() + READY_SECONDS
    while (
        find_pids(supervisor_pid, (name,)).get(name) in (None, pid) or (problem := readiness_problem(url)) is not None
    ):
        if time.monotonic() > deadline:
            return problem if pid is not None else "it did not start"
        time.sleep(0.1)
    return None
