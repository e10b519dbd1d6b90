"""Compares PostgreSQL's clock with the caller's. What cannot be undone trusts neither of them alone."""

CLOCK_DIFFERENCE_SECONDS = 120
"""The largest difference by default."""


class ClocksDiffer(Exception):
    """PostgreSQL's clock or the caller's is wrong: nothing that cannot be undone is done until they agree."""


def verify_clock(
    now: float, asked_at: float, answered_at: float, difference_max: float, consequence: str = "nothing is decided"
) -> None:
    """Compare PostgreSQL's time with the caller's times before and after the query, between which it should lie.

    ``consequence``: what the caller does not do until the clocks agree. Times are in seconds since 1970.

    Raises:
        ClocksDiffer: they are more than ``difference_max`` seconds apart.
    """
    difference = now - answered_at if now > answered_at else min(now - asked_at, 0.0)
    if abs(difference) > difference_max:
        direction = "ahead of" if difference > 0 else "behind"
        raise ClocksDiffer(
            f"PostgreSQL's clock is {abs(difference):.0f} s {direction} this process's;"
            f" {consequence} until they agree: synchronize the clocks of both hosts"
        )
