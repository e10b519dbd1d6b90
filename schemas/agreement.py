"""Body of ``GET /api/moderation/v1/assignments/:assignment_id/agreement``: agreement between an assignment's graders.

Ids are integers, and strings for a client that accepts ``application/json+canvas-string-ids``. No student is named.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from schemas.canvas.values import Id

Count = Annotated[int, Field(ge=0)]
Reason = Literal[
    "no_shared_works",
    "one_work",
    "nothing_decided",
    "no_variance",
    "no_categories",
    "no_tolerance",
    "too_large",
]
IntraclassReason = Literal["no_shared_works", "few_works", "no_variance", "no_measurement", "too_large"]


Interval = Annotated[list[float], Field(min_length=2, max_length=2)] | None


class Figure(BaseModel):
    """``count``: number of observations. If there is no value, ``value`` is null and ``reason`` states why."""

    value: float | None
    count: Count
    reason: Reason | None


class IntraclassCorrelation(BaseModel):
    """ICC(A,1) of McGraw and Wong 1996: two-way random effects, absolute agreement, of a single mark.

    Shrout and Fleiss 1979 call it ICC(2,1). It is computed over the ``count`` submissions that all compared graders
    marked. There is no value for fewer than three submissions, nor for complete/incomplete grading. ``interval`` is the
    95 % confidence interval; it is also null if the graders differ by the same amount on every submission.
    """

    value: float | None
    interval: Interval
    count: Count
    reason: IntraclassReason | None


class Difference(BaseModel):
    """Signed differences in points."""

    mean: Figure
    standard_deviation: Figure


class Grader(BaseModel):
    """Differences from the mean of the submission's other graders, and from the final grade."""

    user_id: Id
    marks: Count
    selected: Count
    difference_from_others: Difference
    difference_from_decided: Difference


class Pair(BaseModel):
    """Two graders, over the submissions that both marked; the difference is the first mark minus the second."""

    user_ids: Annotated[list[Id], Field(min_length=2, max_length=2)]
    works: Count
    exact_rate: Figure
    within_tolerance_rate: Figure
    difference: Difference
    limits_of_agreement: Interval
    quadratic_weighted_kappa: Figure
    intraclass_correlation: IntraclassCorrelation


class Distance(BaseModel):
    """A histogram bar: pairs of marks at most ``up_to`` points apart, beyond the previous bar; null: the rest."""

    up_to: float | None
    pairs: Count


class Agreement(BaseModel):
    """Rates are over all pairs of marks of one submission; ``tolerance`` is in points.

    ``quadratic_weighted_kappa`` is the mean over pairs of graders, weighted by their number of submissions. Its
    ``categories`` (lowest first) are tenths of the points possible, bands of the grading scheme, or incomplete and
    complete. ``intraclass_correlation`` compares all graders of the assignment; if they take turns, see each pair's.
    """

    assignment_id: Id
    course_id: Id
    version: Annotated[int, Field(ge=1)]
    grading_type: str
    points_possible: float | None
    tolerance: float | None
    categories: list[str]
    level_of_measurement: Literal["interval", "ordinal", "nominal"]
    marks: Count
    works: Count
    works_shared: Count
    exact_rate: Figure
    within_tolerance_rate: Figure
    quadratic_weighted_kappa: Figure
    krippendorff_alpha: Figure
    intraclass_correlation: IntraclassCorrelation
    graders: list[Grader]
    pairs: list[Pair]
    distances: list[Distance]
