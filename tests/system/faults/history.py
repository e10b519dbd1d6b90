"""The history of a run: what clients did and saw, in the order in which it happened, as JSON lines."""

import json
import threading
import time
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class History:
    """Appends lines from several threads; each is on disk at once, so that a run that is ended keeps them."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.lines: list[Json] = []
        self._file = file.open("a", buffering=1)
        self._lock = threading.Lock()

    def add(self, kind: str, **values: Any) -> Json:
        """Append a line with the present time (``at``: seconds, monotonic) and return it."""
        line = {"kind": kind, "at": round(time.monotonic(), 4), **values}
        with self._lock:
            self.lines.append(line)
            self._file.write(json.dumps(line, default=str) + "\n")
        return line

    def close(self) -> None:
        self._file.close()
