"""Starts the measured processes, and reads their CPU time and memory."""

import asyncio
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from deploy.benchmarks.environment import LOG_FILE
from deploy.benchmarks.service_tree import THIS_TREE, ServiceTree
from deploy.local.paths import free_port, terminate

READY_SECONDS = 60


class RunningProcess:
    """Runs a Python module of a tree while the block runs; its log is .state/bench.log."""

    def __init__(self, module: str, environment: Mapping[str, str], tree: ServiceTree = THIS_TREE) -> None:
        self.module = module
        self.tree = tree
        self.port = free_port()
        self.environment = {**os.environ, "LOG_LEVEL": "WARNING", **environment, "HEALTH_PORT": str(self.port)}
        self.pid = 0

    def __enter__(self) -> Self:
        with LOG_FILE.open("ab") as log:
            command = [str(self.tree.python), "-m", self.module]
            self._process = subprocess.Popen(
                command, cwd=self.tree.folder, env=self.environment, stdout=log, stderr=log
            )
        self.pid = self._process.pid
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Stop gracefully: if a consumer leaves its group, the next one can start at once.
        terminate(self.pid, signal.SIGTERM, timeout_seconds=20)
        self._process.wait()

    @property
    def url(self) -> str:
        """Base URL of its health endpoints."""
        return f"http://127.0.0.1:{self.port}"

    async def wait_until_ready(self) -> None:
        """Wait until /health/ready returns 200. Raises TimeoutError, or RuntimeError if the process has ended."""
        await wait_until(self._is_ready, f"{self.module} is ready")

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.module} has ended; see {LOG_FILE}")
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def get_metric(self, name: str) -> float:
        """Return a metric, summed over its labels; 0 while the process does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=2) as response:
                families = list(text_string_to_metric_families(response.read().decode()))
        except OSError:
            return 0
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def memory_mib(self) -> float:
        """Return its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

    def peak_memory_mib(self) -> float:
        """Return the largest resident memory that it has had."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        kibibytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(kibibytes) / 1024


async def wait_until(condition: Callable[[], bool], description: str, timeout_seconds: float = READY_SECONDS) -> None:
    """Poll ``condition``, in a thread, until it is true. Raises TimeoutError."""
    deadline = time.monotonic() + timeout_seconds
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not reached within {timeout_seconds} s: {description}; see {LOG_FILE}")
        await asyncio.sleep(0.02)


def processor_seconds(pid: int) -> float:
    """Return the user and system time of a process; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
