"""Grading schemes: names of bands and their lower bounds as fractions.

Canvas: app/models/grading_standard.rb.
"""

import re
from decimal import Context, Decimal

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
_NUMERIC = re.compile(r"(?:[0-9]*\.)?[0-9]+", re.ASCII)
# Products of a bound and a number of points are compared exactly: both have at most 17 digits.
_EXACT = Context(prec=40)


def ordered(scheme: Scheme) -> Scheme:
    """Highest band first."""
    return tuple(sorted(scheme, key=lambda band: -band[1]))


def percent_of(scheme: Scheme, given: str) -> Decimal | None:
    """Percent that a band's name stands for, None if there is no such band.

    The top band is 100; another one is the lower bound of the band above minus 1, or minus 0.1 where the two are less
    than one point apart (Canvas: grade_to_score).
    """
    bands = ordered(scheme)
    place = _place(bands, given)
    if place is None:
        return None
    if place == 0:
        return _HUNDRED
    above, bound = bands[place - 1][1], bands[place][1]
    step = Decimal(1) if (above - bound) * _HUNDRED >= 1 else _TENTH
    return above * _HUNDRED - step


def own_case(scheme: Scheme, given: str) -> str | None:
    """A band's name as the scheme writes it, None if there is no such band."""
    bands = ordered(scheme)
    place = _place(bands, given)
    return None if place is None else bands[place][0]


def name_of(scheme: Scheme, score: Decimal, points: Decimal) -> str:
    """The highest band whose lower bound is at or below score out of points; a negative score counts as 0.

    The lowest band if the score is below them all. Nothing is rounded, so nobody is lifted into a band.
    """
    bands = ordered(scheme)
    counted = max(score, Decimal(0))
    for name, bound in bands:
        if _EXACT.multiply(bound, points) <= counted:
            return name
    return bands[-1][0]


def _place(bands: Scheme, given: str) -> int | None:
    """Numbers name a band by value ("3" is "3.0"), other texts by letters; a typographic minus is a minus."""
    if _NUMERIC.fullmatch(given):
        wanted = Decimal(given)
        return next(
            (i for i, (name, _) in enumerate(bands) if _NUMERIC.fullmatch(name) and Decimal(name) == wanted), None
        )
    text = _folded(given)
    return next((i for i, (name, _) in enumerate(bands) if _folded(name) == text), None)


def _folded(name: str) -> str:
    return name.replace("\N{MINUS SIGN}", "-").casefold()
