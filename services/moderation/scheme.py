"""Grading schemes: names of bands and their lower bounds.

Canvas: app/models/grading_standard.rb.
"""

from decimal import Decimal

Scheme = tuple[tuple[str, Decimal], ...]

DEFAULT: Scheme = tuple(
    (name, Decimal(percent).scaleb(-2))
    for name, percent in (
        ("A", 94),
        ("A-", 90),
        ("B+", 87),
        ("B", 84),
        ("B-", 80),
        ("C+", 77),
        ("C", 74),
        ("C-", 70),
        ("D+", 67),
        ("D", 64),
        ("D-", 61),
        ("F", 0),
    )
)

_HUNDRED = Decimal(100)
_TENTH = Decimal("0.1")


def ordered(scheme: Scheme) -> Scheme:
    """Highest band first."""
    return tuple(sorted(scheme, key=lambda band: -band[1]))


def percent_of(scheme: Scheme, given: str) -> Decimal | None:
    """Percent that a band's name stands for, None if there is no such band (case and typographic minus do not count).

    The top band is 100; another one is the lower bound of the band above minus 1, or minus 0.1 where the two are less
    than one point apart.
    """
    wanted = given.replace("\N{MINUS SIGN}", "-").casefold()
    above: Decimal | None = None
    for name, bound in ordered(scheme):
        if name.replace("\N{MINUS SIGN}", "-").casefold() == wanted:
            if above is None:
                return _HUNDRED
            step = Decimal(1) if (above - bound) * _HUNDRED >= 1 else _TENTH
            return above * _HUNDRED - step
        above = bound
    return None


def own_case(scheme: Scheme, given: str) -> str | None:
    """A band's name as the scheme writes it."""
    wanted = given.replace("\N{MINUS SIGN}", "-").casefold()
    return next((name for name, _ in scheme if name.replace("\N{MINUS SIGN}", "-").casefold() == wanted), None)


def name_of(scheme: Scheme, percent: Decimal) -> str:
    """The highest band whose lower bound is at or below ``percent`` (negative counts as 0); nothing is rounded up."""
    bands = ordered(scheme)
    counted = max(percent, Decimal(0))
    for name, bound in bands:
        if bound * _HUNDRED <= counted:
            return name
    return bands[-1][0]
