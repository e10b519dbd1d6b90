"""Folders and ports of this clone."""

import hashlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state"


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def database_folder(name: str) -> Path:
    """Where a local PostgreSQL keeps its data: in the state folder, unless another user must reach it (when root)."""
    if os.getuid() != 0:
        return STATE / name
    return Path("/var/tmp") / f"moderated-grading-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}" / name


def answers(port: int, alive: Callable[[], bool], seconds: float) -> bool:
    """Whether the port answers in time; False at once when the process behind it has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and alive():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False
