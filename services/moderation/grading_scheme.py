"""Grading schemes: names of bands and their lower bounds as fractions.

Canvas: app/models/grading_standard.rb.
"""

import re
from decimal import Context, Decimal

GradingScheme = tuple[tuple[str, Decimal], ...]

DEFAULT_SCHEME: GradingScheme = tuple(
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
_EXACT_CONTEXT = Context(prec=40)


def sort_bands(scheme: GradingScheme) -> GradingScheme:
    """Return the bands, highest first."""
    return tuple(sorted(scheme, key=lambda band: -band[1]))


def band_percentage(scheme: GradingScheme, band_name: str) -> Decimal | None:
    """Return the percentage that a band's name stands for, None if there is no such band.

    It is 100 for the top band; for another one, the lower bound of the band above minus 1, or minus 0.1 where the two
    are less than one point apart (Canvas: grade_to_score).
    """
    bands = sort_bands(scheme)
    index = _find_band_index(bands, band_name)
    if index is None:
        return None
    if index == 0:
        return _HUNDRED
    above, bound = bands[index - 1][1], bands[index][1]
    step = Decimal(1) if (above - bound) * _HUNDRED >= 1 else _TENTH
    return above * _HUNDRED - step


def canonical_band_name(scheme: GradingScheme, band_name: str) -> str | None:
    """Return a band's name as the scheme writes it, None if there is no such band."""
    bands = sort_bands(scheme)
    index = _find_band_index(bands, band_name)
    return None if index is None else bands[index][0]


def band_for_score(scheme: GradingScheme, score: Decimal, points: Decimal) -> str:
    """Return the highest band whose lower bound is at or below score out of points; a negative score counts as 0.

    A score below all bands is in the lowest one. Nothing is rounded: rounding could lift a score into a band.
    """
    bands = sort_bands(scheme)
    non_negative_score = max(score, Decimal(0))
    for name, bound in bands:
        if _EXACT_CONTEXT.multiply(bound, points) <= non_negative_score:
            return name
    return bands[-1][0]


def _find_band_index(bands: GradingScheme, band_name: str) -> int | None:
    """Find a band by name: numbers match by value ("3" is "3.0"), other texts by letters.

    A typographic minus matches a minus.
    """
    if _NUMERIC.fullmatch(band_name):
        value = Decimal(band_name)
        return next(
            (i for i, (name, _) in enumerate(bands) if _NUMERIC.fullmatch(name) and Decimal(name) == value), None
        )
    normalized_name = _normalize_name(band_name)
    return next((i for i, (name, _) in enumerate(bands) if _normalize_name(name) == normalized_name), None)


def _normalize_name(name: str) -> str:
    return name.replace("\N{MINUS SIGN}", "-").casefold()
