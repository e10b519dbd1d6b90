"""`deploy/stack status` and `restart`: what they find out about supervised processes, and what they do with them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.paths import ROOT, free_port, terminate, wait_until_ready
from deploy.local.stack_processes import find_pids, read_statuses, readiness_problem, restart

NAME = "clock"
PROCESS = """
import http.server, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), Ready).serve_forever()
"""
SUPERVISOR = f"""
import sys
from pathlib import Path
from deploy.local.supervisor import Child, supervise
supervise([Child([sys.executable, "-c", {PROCESS!r}, "services.{NAME}", sys.argv[1]], {{}}, Path(sys.argv[2]))])
"""


@pytest.fixture
def url() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def supervisor(url: str, tmp_path: Path) -> Iterator[int]:
    """A supervisor of one process that answers at the URL."""
    port = url.rpartition(":")[2]
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, port, str(tmp_path / "log")], cwd=ROOT)
    assert wait_until_ready(lambda: readiness_problem(url) is None, lambda: process.poll() is None, 30)
    yield process.pid
    terminate(process.pid)
    process.wait()


def test_status_shows_which_process_is_not_ready(supervisor: int, url: str) -> None:
    pid = find_pids(supervisor, (NAME,))[NAME]
    elsewhere = f"http://127.0.0.1:{free_port()}"
    statuses = read_statuses(supervisor, {NAME: url, "relay": elsewhere})
    assert [(status.name, status.pid, status.problem is None) for status in statuses] == [
        (NAME, pid, True),
        ("relay", None, False),
    ]


@pytest.mark.parametrize("is_frozen", [False, True])
def test_restarted_process_is_another_one_and_ready(is_frozen: bool, supervisor: int, url: str) -> None:
    pid = find_pids(supervisor, (NAME,))[NAME]
    if is_frozen:
        os.kill(pid, signal.SIGSTOP)
    assert restart(supervisor, NAME, url) is None
    assert find_pids(supervisor, (NAME,))[NAME] != pid
    assert readiness_problem(url) is None
