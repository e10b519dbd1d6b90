"""Log lines as JSON: time, level, process, logger, message; never the content of a command.

Messages of other libraries' exceptions may repeat content (PostgreSQL quotes the row it refuses), so only type and
traceback of these are logged. Messages of our own exceptions hold no content; those of aiokafka and the operating
system name only addresses and files.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from schemas.fields import format_time
from services.telemetry.log_repeats import FirstStartFilter, RepeatFilter

SAFE_EXCEPTION_MODULES = ("services.", "aiokafka.")
EXTRA_FIELDS = ("partition", "lane", "server", "access")
"""Further fields of a line, given as ``extra``."""


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": format_time(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "process": self.process,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in EXTRA_FIELDS if hasattr(record, name)},
        }
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            if not _is_safe(error):
                # Libraries repeat the exception's text in the message.
                line["message"] = line["message"].splitlines()[0].replace(str(error) or "\0", "…")
            line["exception"] = _format_exception(error)
        return json.dumps(line, ensure_ascii=False)


def _is_safe(error: BaseException) -> bool:
    return type(error).__module__.startswith(SAFE_EXCEPTION_MODULES) or isinstance(error, OSError)


def _format_exception(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    details = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if _is_safe(error):
        details["message"] = str(error)
    return {**details, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def configure_logging(process: str) -> None:
    """Log to stderr from now on, including the exception that ends the process."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(process))
    handler.addFilter(RepeatFilter("aiokafka"))
    handler.addFilter(FirstStartFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    def log_uncaught(kind: type[BaseException], error: BaseException, error_traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, error_traceback)
        else:
            logging.getLogger(process).critical("ended by an exception", exc_info=(kind, error, error_traceback))

    sys.excepthook = log_uncaught
