"""Intraclass correlation of the scores that graders gave, by a library (pingouin): ICC(A,1).

That is McGraw and Wong's (1996) name for two-way random effects, absolute agreement, of a single grader's mark; Shrout
and Fleiss (1979) call it ICC(2,1). Graders stand for those who might have marked, so one who is more generous than the
others lowers it; and one grader's mark is asked about, not the mean of several, because one mark is published.

It is a share of variances: over a class of equals even small differences give a low one, and it may fall below zero.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

import numpy

from schemas.agreement import IntraclassReason
from services.agreement.coefficients import Figure

# Of two works every interval goes from no agreement to full.
WORKS_MIN = 3
# pingouin clears and fills its options while it calculates, one dictionary for all threads.
_ALONE = threading.Lock()


@dataclass(frozen=True, slots=True)
class Intraclass:
    """``figure``: over the works that all the compared graders marked; ``interval``: of 95 % confidence.

    There is no interval where the graders differ by the same on every work: nothing is left to chance then.
    """

    figure: Figure
    interval: tuple[float, float] | None = None


def no_intraclass(count: int, reason: IntraclassReason) -> Intraclass:
    """Where there is none to tell."""
    return Intraclass(Figure(None, count, reason))


def intraclass(works: Sequence[Sequence[Decimal]]) -> Intraclass:
    """ICC(A,1) of a complete table of scores: works by graders, two graders or more.

    The first call of a process takes about a second, and its memory grows by that of the library and all it brings.
    """
    count = len(works)
    if count < WORKS_MIN:
        return no_intraclass(count, "few_works")
    if len({score for work in works for score in work}) == 1:
        return no_intraclass(count, "no_variance")
    value, low, high = _by_library(works)
    apart = {tuple(score - work[0] for score in work) for work in works}
    known = len(apart) > 1 and isfinite(low) and isfinite(high)
    return Intraclass(Figure(value, count), (low, high) if known else None)


def _by_library(works: Sequence[Sequence[Decimal]]) -> tuple[float, float, float]:
    # A second, and 150 MB: only where it is asked for.
    import pandas
    import pingouin

    graders = len(works[0])
    table = pandas.DataFrame(
        {
            "work": numpy.repeat(numpy.arange(len(works)), graders),
            "grader": numpy.tile(numpy.arange(graders), len(works)),
            "score": numpy.array([float(score) for work in works for score in work]),
        }
    )
    with _ALONE, numpy.errstate(all="ignore"):
        pingouin.options["round.column.CI95"] = None
        found = pingouin.intraclass_corr(table, targets="work", raters="grader", ratings="score").set_index("Type")
    low, high = found.at["ICC(A,1)", "CI95"]
    return float(found.at["ICC(A,1)", "ICC"]), float(low), float(high)
