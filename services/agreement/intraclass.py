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
from services.agreement.coefficients import Statistic

# Of two works every interval goes from no agreement to full.
SUBMISSIONS_MIN = 3
# pingouin clears and fills its options while it calculates, one dictionary for all threads.
_PINGOUIN_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """``statistic``: over the works that all the compared graders marked; ``interval``: of 95 % confidence.

    There is no interval where the graders differ by the same on every work: nothing is left to chance then.
    """

    statistic: Statistic
    interval: tuple[float, float] | None = None


def missing_icc(count: int, reason: IntraclassReason) -> IntraclassCorrelation:
    """Where there is none to tell."""
    return IntraclassCorrelation(Statistic(None, count, reason))


def compute_icc(score_rows: Sequence[Sequence[Decimal]]) -> IntraclassCorrelation:
    """ICC(A,1) of a complete table of scores: works by graders, two graders or more.

    The first call of a process takes about a second, and its memory grows by that of the library and all it brings.
    """
    count = len(score_rows)
    if count < SUBMISSIONS_MIN:
        return missing_icc(count, "few_works")
    if len({score for row in score_rows for score in row}) == 1:
        return missing_icc(count, "no_variance")
    value, low, high = _pingouin_icc(score_rows)
    difference_patterns = {tuple(score - row[0] for score in row) for row in score_rows}
    has_interval = len(difference_patterns) > 1 and isfinite(low) and isfinite(high)
    return IntraclassCorrelation(Statistic(value, count), (low, high) if has_interval else None)


def _pingouin_icc(score_rows: Sequence[Sequence[Decimal]]) -> tuple[float, float, float]:
    # A second, and 150 MB: only where it is asked for.
    import pandas
    import pingouin

    grader_count = len(score_rows[0])
    table = pandas.DataFrame(
        {
            "work": numpy.repeat(numpy.arange(len(score_rows)), grader_count),
            "grader": numpy.tile(numpy.arange(grader_count), len(score_rows)),
            "score": numpy.array([float(score) for row in score_rows for score in row]),
        }
    )
    with _PINGOUIN_LOCK, numpy.errstate(all="ignore"):
        pingouin.options["round.column.CI95"] = None
        icc_table = pingouin.intraclass_corr(table, targets="work", raters="grader", ratings="score").set_index("Type")
    low, high = icc_table.at["ICC(A,1)", "CI95"]
    return float(icc_table.at["ICC(A,1)", "ICC"]), float(low), float(high)
