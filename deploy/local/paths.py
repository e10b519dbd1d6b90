"""Folders, ports and processes of this clone."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state"
# Below the ephemeral ports of Linux, macOS and IANA.
PORT_RANGE = (15_000, 32_768)


def _read_clone_id() -> str:
    """Return the id of this clone, which is in the names of its data and containers.

    It is random, so that a later clone in the same folder, or one whose state was deleted, does not reuse an older log.
    """
    file = STATE / "clone"
    if not file.exists():
        STATE.mkdir(exist_ok=True)
        temporary_file = STATE / f"clone-{os.getpid()}"
        temporary_file.write_text(secrets.token_hex(6))
        # Atomic, and the first process wins: others may do the same concurrently.
        with contextlib.suppress(FileExistsError):
            os.link(temporary_file, file)
        temporary_file.unlink()
    return file.read_text()


CLONE_ID = _read_clone_id()
_given_ports: set[int] = set()


def free_port() -> int:
    """Return a free port on 127.0.0.1, outside the range of ephemeral ports, and never twice in a process.

    What it was given for listens only later: a broker with the same port for two listeners does not start.
    """
    while True:
        port = random.SystemRandom().randrange(*PORT_RANGE)
        if port in _given_ports:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given_ports.add(port)
            return port


def database_folder(name: str) -> Path:
    """Return a local PostgreSQL's data folder: in the state folder, or, as root, where PostgreSQL's user can read."""
    home = STATE if os.getuid() != 0 else Path("/var/tmp") / f"moderated-grading-{CLONE_ID}"
    return home / name / "postgres"


def remove_folder(folder: Path) -> None:
    """Delete a server's folder, and its parent if that is then empty."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def wait_until_ready(is_ready: Callable[[], bool], is_alive: Callable[[], bool], timeout_seconds: float) -> bool:
    """Poll ``is_ready`` until it is true; False after the timeout, or at once when ``is_alive`` turns false."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and is_alive():
        if is_ready():
            return True
        time.sleep(0.05)
    return False


def running_pid(file: Path, command: str) -> int | None:
    """Return the process id at the start of a file, if that process runs and its command line contains ``command``."""
    try:
        pid = int(file.read_text().split()[0])
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ValueError, IndexError, ProcessLookupError):
        return None
    return pid if command in command_line else None


def terminate(pid: int, signal_number: int = signal.SIGTERM, timeout_seconds: float = 60) -> None:
    """Send a signal and wait until the process has ended; send SIGKILL after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)
    while _is_running(pid):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _is_running(pid: int) -> bool:
    """Return whether the process runs. A zombie, which has no command line, does not."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
