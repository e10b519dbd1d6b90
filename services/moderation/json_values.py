"""Converts scores and times to JSON values and back."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache


def decimal_to_json(value: Decimal | None) -> int | float | None:
    """Convert a score to JSON, exactly for the 15 digits it has; whole numbers become int."""
    if value is None:
        return None
    whole = int(value)
    return whole if whole == value else float(value)


def decimal_from_json(value: float | None) -> Decimal | None:
    """Do the reverse of :func:`decimal_to_json`."""
    if value is None:
        return None
    return _parse_decimal(repr(value))


@lru_cache(maxsize=4_096)
def _parse_decimal(text: str) -> Decimal:
    return Decimal(text)


@lru_cache(maxsize=256)  # All decisions of a batch have the same time, which each writes several times.
def format_time(value: datetime | None) -> str | None:
    """Format a time as RFC 3339 in UTC with milliseconds."""
    return None if value is None else value.isoformat(timespec="milliseconds")[:23] + "Z"


@lru_cache(maxsize=256)
def format_canvas_time(value: datetime | None) -> str | None:
    """Format a time as Canvas's API does."""
    return None if value is None else value.isoformat(timespec="seconds")[:19] + "Z"


@lru_cache(maxsize=4_096)
def parse_time(text: str | None) -> datetime | None:
    """Do the reverse of :func:`format_time`."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
