"""Keeps the service's processes running: ``python -m deploy.local.supervisor`` reads .state/stack/processes.json.

One that dies is started again, at once the first time and with growing pauses when it keeps dying. When the supervisor
itself dies its children get SIGTERM from the kernel: nothing is left behind unowned.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

from deploy.local.paths import ROOT, STATE

STACK_FOLDER = STATE / "stack"
PROCESSES_FILE = STACK_FOLDER / "processes.json"
RESTART_DELAYS_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
STABLE_SECONDS = 30
PR_SET_PDEATHSIG = 1


def terminate_with_parent() -> None:
    """In the child: end when the supervisor ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One supervised process; its log is .state/logs/NAME.log."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = name
        self.environment = environment
        self.failures = 0
        self.start()

    def start(self) -> None:
        """Start it, appending to its log."""
        self.started_at = time.monotonic()
        module = self.name.split("-")[0]
        with (STATE / "logs" / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{module}"],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=terminate_with_parent,
            )

    def restart_if_ended(self) -> None:
        """Start it again if it has ended and its pause is over."""
        if self.process.poll() is None:
            return
        now = time.monotonic()
        if now - self.started_at > STABLE_SECONDS:
            self.failures = 0
        if now - self.started_at > RESTART_DELAYS_SECONDS[min(self.failures, len(RESTART_DELAYS_SECONDS) - 1)]:
            self.failures += 1
            self.start()


def main() -> None:
    """Supervise until SIGTERM; then end the children in good order."""
    children = [Child(name, env) for name, env in json.loads(PROCESSES_FILE.read_text()).items()]
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
            child.process.wait(40)
        except subprocess.TimeoutExpired:
            child.process.kill()


if __name__ == "__main__":
    main()
