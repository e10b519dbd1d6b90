"""Keeps the service's processes running: ``python -m deploy.local.supervisor`` reads .state/stack/processes.json.

The supervisor restarts a process that ends, with a growing backoff. If the supervisor itself is killed, the kernel
sends SIGTERM to its children, so that none is orphaned. Procfile runners do not do both: honcho stops all
processes when one ends; supervisord restarts them, but orphans them when it is killed.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.paths import ROOT, STATE

STACK_FOLDER = STATE / "stack"
LOG_FOLDER = STATE / "logs"
PROCESSES_FILE = STACK_FOLDER / "processes.json"
RESTART_DELAYS_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
STABLE_SECONDS = 30
STOP_SECONDS = 40
PR_SET_PDEATHSIG = 1


def terminate_with_parent() -> None:
    """Ask the kernel, in the child, for SIGTERM when the parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One supervised process, started on creation. Its output is appended to ``log``."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.command = command
        self.environment = environment
        self.log = log
        self.failures = 0
        self.start()

    def start(self) -> None:
        """Start the process."""
        self.started_at = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=terminate_with_parent,
            )

    def restart_if_ended(self) -> None:
        """Restart the process if it has ended and its backoff is over."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        if now - self.started_at > STABLE_SECONDS:
            self.failures = 0
        if now - self.started_at > RESTART_DELAYS_SECONDS[min(self.failures, len(RESTART_DELAYS_SECONDS) - 1)]:
            self.failures += 1
            self.start()


def supervise(children: Sequence[Child]) -> None:
    """Supervise until SIGTERM, then stop the children gracefully."""
    received_signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received_signals.append(number))
    while not received_signals:
        for child in children:
            child.restart_if_ended()
        time.sleep(0.1)
    for child in children:
        child.process.terminate()
    for child in children:
        try:
            child.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.process.kill()


if __name__ == "__main__":
    supervise(
        [
            Child([sys.executable, "-m", f"services.{name}"], environment, LOG_FOLDER / f"{name}.log")
            for name, environment in json.loads(PROCESSES_FILE.read_text()).items()
        ]
    )
