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
    value: float | None = Field(description="the figure, rounded to 6 decimals; null if there is a reason")
    count: Count = Field(description="number of observations that it was computed from")
    reason: Reason | None = Field(description="why there is no value; null if there is one")


class IntraclassCorrelation(BaseModel):
    """ICC(A,1) of McGraw and Wong 1996: two-way random effects, absolute agreement, of a single mark.

    Shrout and Fleiss 1979 call it ICC(2,1). There is no value for fewer than three submissions, nor for
    complete/incomplete grading.
    """

    value: float | None = Field(description="the correlation, at most 1; null if there is a reason")
    interval: Interval = Field(
        description="lower and upper limit of the 95 % confidence interval; null without a value, and if the graders "
        "differ by the same amount on every submission"
    )
    count: Count = Field(description="number of submissions that all compared graders marked")
    reason: IntraclassReason | None = Field(description="why there is no value; null if there is one")


class Difference(BaseModel):
    """Signed differences in points."""

    mean: Figure = Field(description="mean of the differences, in points")
    standard_deviation: Figure = Field(description="sample standard deviation of the differences, in points")


class Grader(BaseModel):
    user_id: Id = Field(description="the grader")
    marks: Count = Field(description="number of the grader's marks")
    selected: Count = Field(description="number of these marks that are selected")
    difference_from_others: Difference = Field(
        description="the grader's mark minus the mean of the submission's other marks"
    )
    difference_from_decided: Difference = Field(
        description="the grader's mark minus the selected grade, or else the moderator's final one"
    )


class Pair(BaseModel):
    """Two graders, over the submissions that both marked."""

    user_ids: Annotated[list[Id], Field(min_length=2, max_length=2)] = Field(description="the two graders")
    works: Count = Field(description="number of submissions that both marked")
    exact_rate: Figure = Field(description="share of equal marks, from 0 to 1")
    within_tolerance_rate: Figure = Field(description="share of marks that differ by at most the tolerance, 0 to 1")
    difference: Difference = Field(description="the first grader's mark minus the second one's")
    limits_of_agreement: Interval = Field(
        description="mean difference minus and plus 1.96 standard deviations, in points; null for fewer than two works"
    )
    quadratic_weighted_kappa: Figure = Field(description="Cohen's kappa with quadratic weights, at most 1")
    intraclass_correlation: IntraclassCorrelation = Field(description="of the two graders' marks")


class Distance(BaseModel):
    """A bar of a histogram of the distances between two marks of one submission."""

    up_to: float | None = Field(
        description="largest distance in points; the bar begins after the previous one; null: all larger distances"
    )
    pairs: Count = Field(description="number of pairs of marks")


class Agreement(BaseModel):
    """Figures over the marks of one assignment; rates are over all pairs of marks of one submission."""

    assignment_id: Id = Field(description="the assignment")
    course_id: Id = Field(description="its course")
    version: Annotated[int, Field(ge=1)] = Field(description="version of the assignment that was compared")
    grading_type: str = Field(description="`points`, `percent`, `letter_grade`, `gpa_scale` or `pass_fail`")
    points_possible: float | None = Field(description="maximum score in points; null: 0 or none")
    tolerance: float | None = Field(
        description="difference in points that counts as agreement; null: none, without points possible"
    )
    categories: list[str] = Field(
        description="categories of kappa, lowest first: tenths of the points possible, bands of the grading scheme, or "
        "incomplete and complete"
    )
    level_of_measurement: Literal["interval", "ordinal", "nominal"] = Field(
        description="interval: scores; ordinal: bands; nominal: complete or incomplete"
    )
    marks: Count = Field(description="number of marks")
    works: Count = Field(description="number of submissions with a mark")
    works_shared: Count = Field(description="number of submissions with more than one mark")
    exact_rate: Figure = Field(description="share of equal marks, from 0 to 1")
    within_tolerance_rate: Figure = Field(description="share of marks that differ by at most the tolerance, 0 to 1")
    quadratic_weighted_kappa: Figure = Field(
        description="mean of the kappas of all pairs of graders, weighted by their numbers of submissions"
    )
    krippendorff_alpha: Figure = Field(description="Krippendorff's alpha at the level of measurement, at most 1")
    intraclass_correlation: IntraclassCorrelation = Field(
        description="of all graders of the assignment; if they take turns, see each pair's"
    )
    graders: list[Grader] = Field(description="each grader's marks, by user id")
    pairs: list[Pair] = Field(description="each pair of graders with a submission in common, by user ids")
    distances: list[Distance] = Field(description="distances between marks, from 0 upwards; empty without pairs")
