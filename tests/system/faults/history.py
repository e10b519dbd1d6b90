"""The history of a run: the clients' actions and observations in order, as JSON lines."""

import json
import threading
import time
from pathlib import Path
from typing import Any

from tests.fixtures.process_runner import Process

Json = dict[str, Any]


class History:
    """Appends lines from several threads; each is written to disk at once, so that an aborted run keeps them."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.lines: list[Json] = []
        self._file = file.open("a", buffering=1)
        self._lock = threading.Lock()

    def add(self, kind: str, **values: Any) -> Json:
        """Append a line with the current time (``at``: seconds, monotonic) and return it."""
        line = {"kind": kind, "at": round(time.monotonic(), 4), **values}
        with self._lock:
            self.lines.append(line)
            self._file.write(json.dumps(line, default=str) + "\n")
        return line

    def close(self) -> None:
        self._file.close()


class NotedProcess(Process):
    """A process whose starts and ends are in the history: while it runs, it is to be sampled."""

    def __init__(self, history: History, name: str, environment: dict[str, str], log: Path) -> None:
        super().__init__(name, environment, log)
        self._history = history

    def start(self) -> None:
        super().start()
        self._history.add("started", process=self.log.stem)

    def kill(self) -> None:
        super().kill()
        self._history.add("ended", process=self.log.stem)

    def stop(self) -> int:
        code = super().stop()
        self._history.add("ended", process=self.log.stem)
        return code
