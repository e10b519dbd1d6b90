"""The figures of an assignment's agreement, as records."""

from dataclasses import dataclass
from decimal import Decimal

from services.agreement.coefficients import Statistic
from services.agreement.intraclass import IntraclassCorrelation
from services.agreement.scale import Scale


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean and sample standard deviation of signed differences, in points."""

    mean: Statistic
    standard_deviation: Statistic


@dataclass(frozen=True, slots=True)
class GraderAgreement:
    """``rating_count``: the grader's marks; ``selected_count``: those of them selected for publication."""

    user_id: int
    rating_count: int
    selected_count: int
    difference_from_others: Difference
    difference_from_decided: Difference


@dataclass(frozen=True, slots=True)
class GraderPair:
    """Two graders over the works that both marked; ``difference`` is the first's mark minus the second's."""

    first: int
    second: int
    submission_count: int
    exact_rate: Statistic
    within_tolerance_rate: Statistic
    difference: Difference
    weighted_kappa: Statistic
    intraclass_correlation: IntraclassCorrelation


@dataclass(frozen=True, slots=True)
class DistanceBin:
    """A bar: pairs at most ``up_to`` points apart, and farther than in the bar before; None: all farther ones."""

    up_to: Decimal | None
    pair_count: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """The statistics of one assignment. ``tolerance``: in points, None if there is none.

    ``weighted_kappa``: the mean of the kappas of all pairs of graders, each weighted by its works (Light 1971 weights
    them equally, so that a pair with two works in common would count as much as one with two hundred).
    ``krippendorff_alpha``: over scores (interval), bands (ordinal) or complete and incomplete (nominal); over bins if a
    large class has too many different scores. ``intraclass_correlation``: over the works that every grader of the
    assignment marked; if graders take turns there are none, and the correlations of pairs are more informative.
    """

    scale: Scale
    tolerance: Decimal | None
    rating_count: int
    submission_count: int
    shared_submission_count: int
    exact_rate: Statistic
    within_tolerance_rate: Statistic
    weighted_kappa: Statistic
    krippendorff_alpha: Statistic
    intraclass_correlation: IntraclassCorrelation
    graders: tuple[GraderAgreement, ...]
    pairs: tuple[GraderPair, ...]
    distances: tuple[DistanceBin, ...]
