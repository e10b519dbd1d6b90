"""Log lines as JSON, one a fact: time, level, process, logger, message; no contents of any command.

What others' exceptions say may repeat what a command said (PostgreSQL names the row it refuses): of those only the type
and the place in the code are written. Ours say nothing that a log must not hold, and Kafka's and the system's speak of
addresses and files.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

TELLING = ("services.", "aiokafka.")
FIELDS = ("partition", "server")
"""What a line may hold besides, given as ``extra``."""


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1_000:03d}Z",
            "level": record.levelname,
            "process": self.process,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in FIELDS if hasattr(record, name)},
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            if not _tells(error):
                # Libraries put into the message what the exception says.
                line["message"] = line["message"].splitlines()[0].replace(str(error) or "\0", "…")
            line["exception"] = _exception(error)
        return json.dumps(line, ensure_ascii=False)


def _tells(error: BaseException) -> bool:
    return type(error).__module__.startswith(TELLING) or isinstance(error, OSError)


def _exception(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    told = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if _tells(error):
        told["message"] = str(error)
    return {**told, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def configure(process: str) -> None:
    """Write what this process logs to stderr, the exception that ends it too; the first thing that a process does."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    def ended(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, place)
        else:
            logging.getLogger(process).critical("ended by an exception", exc_info=(kind, error, place))

    sys.excepthook = ended
