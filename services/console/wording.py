"""Numbers and durations in sentences, for pages and commands."""

from datetime import timedelta


def pluralize(number: int, noun: str) -> str:
    """Format as ``1 command``, ``2,000 commands``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_duration(seconds: float) -> str:
    """Format a duration in two units at most: ``42 ms``, ``3.2 s``, ``2 h 3 min``."""
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    duration = timedelta(seconds=int(seconds))
    days, rest = duration.days, duration.seconds
    hours, minutes = rest // 3600, rest % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest % 60} s"
