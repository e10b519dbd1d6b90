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
# Below those that Linux, macOS and the IANA's rule give to connections.
PORT_RANGE = (15_000, 32_768)


def _read_clone_id() -> str:
    """What this clone's data and containers are called by: drawn once, so that a later clone in the same folder, or one
    whose state was deleted, does not find the log of the former one.
    """
    file = STATE / "clone"
    if not file.exists():
        STATE.mkdir(exist_ok=True)
        temporary_file = STATE / f"clone-{os.getpid()}"
        temporary_file.write_text(secrets.token_hex(6))
        # Whole or not there, and the first one counts: another process may draw at the same time.
        with contextlib.suppress(FileExistsError):
            os.link(temporary_file, file)
        temporary_file.unlink()
    return file.read_text()


CLONE_ID = _read_clone_id()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody uses now, and that no connection is given by the system as its own end."""
    while True:
        port = random.SystemRandom().randrange(*PORT_RANGE)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def database_folder(name: str) -> Path:
    """Where a local PostgreSQL keeps its data: in the state folder, unless another user must reach it (when root)."""
    home = STATE if os.getuid() != 0 else Path("/var/tmp") / f"moderated-grading-{CLONE_ID}"
    return home / name / "postgres"


def remove_folder(folder: Path) -> None:
    """Delete a server's folder, and the one it is in when nothing else is left there."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def wait_until_ready(is_ready: Callable[[], bool], is_alive: Callable[[], bool], timeout_seconds: float) -> bool:
    """Whether ``is_ready`` becomes true in time; False at once when what should answer is no longer ``is_alive``."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline and is_alive():
        if is_ready():
            return True
        time.sleep(0.05)
    return False


def running_pid(file: Path, command: str) -> int | None:
    """The process id a file begins with, if that process still runs and its command line still says ``command``."""
    try:
        pid = int(file.read_text().split()[0])
        command_line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ValueError, IndexError, ProcessLookupError):
        return None
    return pid if command in command_line else None


def terminate(pid: int, signal_number: int = signal.SIGTERM, timeout_seconds: float = 60) -> None:
    """Send a signal and wait until the process has ended; SIGKILL when it takes longer than that."""
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
    """A process that has ended and waits for a parent who never asks has no command line any more."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
