"""The logs of the stack's processes, formatted for people."""

import json
from pathlib import Path


def read_last_lines(log: Path, count: int) -> list[str]:
    """Return the last lines of a log, formatted."""
    return [format_log_line(line) for line in log.read_text().splitlines()[-count:]]


def format_log_line(line: str) -> str:
    """Format a JSON log line for people; return any other line unchanged."""
    try:
        log_entry = json.loads(line)
        text = f"{log_entry['time']} {log_entry['level']:<8} {log_entry['logger']}: {log_entry['message']}"
    except (ValueError, TypeError, KeyError):
        return line
    exception = log_entry.get("exception", {})
    return text + "".join(f"\n    {part}" for part in [exception.get("message"), *exception.get("at", ())] if part)
