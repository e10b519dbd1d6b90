"""The supervisor restarts its processes, stops them gracefully, and leaves no orphans when it is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.paths import ROOT

DEADLINE_SECONDS = 30
CHILD = """
import os, signal, sys
def stop(number, frame):
    print("stopped", os.getpid(), flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("started", os.getpid(), flush=True)
while True:
    signal.pause()
"""
SUPERVISOR = """
import pathlib, sys
from deploy.local.supervisor import Child, supervise
supervise([Child([sys.executable, "-c", sys.argv[1]], {}, pathlib.Path(sys.argv[2]))])
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "child.log"


@pytest.fixture
def supervisor(log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, CHILD, str(log)], cwd=ROOT)
    yield process
    process.terminate()
    process.wait(DEADLINE_SECONDS)


def logged_pids(log: Path, word: str) -> list[int]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.split()[1]) for line in lines if line.startswith(word)]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("supervisor")
def test_a_killed_process_is_restarted(log: Path) -> None:
    for count in (1, 2, 3):
        wait_until(lambda count=count: len(logged_pids(log, "started")) == count)  # type: ignore[misc]
        os.kill(logged_pids(log, "started")[-1], signal.SIGKILL)


def test_processes_stop_gracefully_with_the_supervisor(log: Path, supervisor: "subprocess.Popen[bytes]") -> None:
    wait_until(lambda: bool(logged_pids(log, "started")))
    supervisor.terminate()
    assert supervisor.wait(DEADLINE_SECONDS) == 0
    assert logged_pids(log, "stopped") == logged_pids(log, "started")


def test_a_killed_supervisor_leaves_no_process_behind(log: Path, supervisor: "subprocess.Popen[bytes]") -> None:
    wait_until(lambda: bool(logged_pids(log, "started")))
    supervisor.kill()
    wait_until(lambda: logged_pids(log, "stopped") == logged_pids(log, "started"))
