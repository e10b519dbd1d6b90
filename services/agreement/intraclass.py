"""Intraclass correlation of the scores that graders gave: ICC(A,1).

That is McGraw and Wong's (1996) name for two-way random effects, absolute agreement, single rater; Shrout and Fleiss
(1979) call it ICC(2,1). Graders count as a random sample, so a grader who is more generous than the others lowers it.
It is that of a single grader's mark, not of the mean of several, because one mark is published.

It is a ratio of variances: if all works are equally good, even small differences make it low. It can be negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from schemas.agreement import IntraclassReason
from services.agreement.coefficients import Statistic
from services.agreement.f_distribution import f_quantile

# With two works every interval extends from no agreement to full agreement.
SUBMISSIONS_MIN = 3
# Probability beyond each end of the 95 % interval.
TAIL = 0.025


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """``statistic``: over the works that all compared graders marked; ``interval``: the 95 % confidence interval.

    There is no interval if the graders differ by the same amount on every work: there is no residual variance then.
    """

    statistic: Statistic
    interval: tuple[float, float] | None = None


def missing_icc(count: int, reason: IntraclassReason) -> IntraclassCorrelation:
    """Build the correlation that does not exist for a reason."""
    return IntraclassCorrelation(Statistic(None, count, reason))


def compute_icc(score_rows: Sequence[Sequence[Decimal]]) -> IntraclassCorrelation:
    """Compute the ICC(A,1) of a complete table of scores: works by graders, at least two graders."""
    count = len(score_rows)
    if count < SUBMISSIONS_MIN:
        return missing_icc(count, "few_works")
    if len({score for row in score_rows for score in row}) == 1:
        return missing_icc(count, "no_variance")
    squares = compute_mean_squares(score_rows)
    value = _single_absolute_agreement(squares)
    difference_patterns = {tuple(score - row[0] for score in row) for row in score_rows}
    interval = _confidence_interval(squares, value) if len(difference_patterns) > 1 else None
    return IntraclassCorrelation(Statistic(value, count), interval)


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Two-way analysis of variance without replication: ``n`` works by ``k`` graders."""

    n: int
    k: int
    works: float
    graders: float
    error: float


def compute_mean_squares(score_rows: Sequence[Sequence[Decimal]]) -> MeanSquares:
    """Compute the mean squares of a complete table: works by graders."""
    import numpy

    scores = numpy.array(score_rows, dtype=float)
    n, k = scores.shape
    work_means, grader_means, mean = scores.mean(axis=1), scores.mean(axis=0), scores.mean()
    errors = scores - work_means[:, None] - grader_means + mean
    return MeanSquares(
        n,
        k,
        float(k * ((work_means - mean) ** 2).sum() / (n - 1)),
        float(n * ((grader_means - mean) ** 2).sum() / (k - 1)),
        float((errors**2).sum() / ((n - 1) * (k - 1))),
    )


def _single_absolute_agreement(squares: MeanSquares) -> float:
    """Compute ICC(A,1) (McGraw and Wong 1996, table 4)."""
    n, k = squares.n, squares.k
    grader_part = k / n * (squares.graders - squares.error)
    return (squares.works - squares.error) / (squares.works + (k - 1) * squares.error + grader_part)


def _confidence_interval(squares: MeanSquares, icc: float) -> tuple[float, float] | None:
    """Compute the 95 % interval of ICC(A,1) (McGraw and Wong 1996, table 7, with its names of variables).

    None if rounding leaves no residual variance.
    """
    if icc == 1:
        return None
    n, k = squares.n, squares.k
    a = k * icc / (n * (1 - icc))
    b = 1 + k * icc * (n - 1) / (n * (1 - icc))
    variance = (a * squares.graders) ** 2 / (k - 1) + (b * squares.error) ** 2 / ((n - 1) * (k - 1))
    if variance == 0:
        return None
    v = (a * squares.graders + b * squares.error) ** 2 / variance
    f_lower, f_upper = f_quantile(n - 1, v, 1 - TAIL), f_quantile(v, n - 1, 1 - TAIL)
    others = k * squares.graders + (k * n - k - n) * squares.error
    low = n * (squares.works - f_lower * squares.error) / (f_lower * others + n * squares.works)
    high = n * (f_upper * squares.works - squares.error) / (others + n * f_upper * squares.works)
    return (float(low), float(high)) if isfinite(low) and isfinite(high) else None
