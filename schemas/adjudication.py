"""Adjudication policies (contract section 8.4): numbers are decimal strings, so that no value is rounded in transit."""

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema

from schemas.strict import Strict

DECIMAL_PATTERN = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?$"
STEP_PATTERN = r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,4})?$"
BOUNDARIES_MAX = 100
AdjudicationResult = Literal["mean", "median", "highest", "lowest", "first"]
ThirdMarkResult = Literal["mean_of_nearest_two", "nearest_of_first_two", "median", "third_stands"]


def _check_step(step: str) -> str:
    if not Decimal(step):
        raise ValueError("send a step above 0, with at most 4 decimals")
    return step


def _check_boundaries(boundaries: list[str]) -> list[str]:
    numbers = [Decimal(bound) for bound in boundaries]
    if any(upper <= lower for lower, upper in zip(numbers, numbers[1:], strict=False)):
        raise ValueError("send the boundaries in ascending order, each once")
    return boundaries


DecimalText = Annotated[str, StringConstraints(strict=True, pattern=DECIMAL_PATTERN)]
Step = Annotated[
    str,
    StringConstraints(strict=True, pattern=STEP_PATTERN),
    AfterValidator(_check_step),
    WithJsonSchema({"type": "string", "pattern": STEP_PATTERN, "not": {"pattern": r"^[0.]+$"}}),
]
Boundaries = Annotated[
    list[DecimalText], Field(min_length=1, max_length=BOUNDARIES_MAX), AfterValidator(_check_boundaries)
]


class Rounding(Strict):
    """How a computed score is rounded; a grader's own score is never rounded."""

    step: Step = Field(default="0.01", description="results are multiples of it, such as 0.5")
    mode: Literal["half_up", "half_even", "up", "down"] = Field(
        default="half_up",
        description="half_up: halves away from zero; up: towards plus infinity; down: towards minus infinity",
    )


class AdjudicationPolicy(Strict):
    """Derives one grade from independent marks.

    Without points (0 or null) letters and words all have the score 0: then marks with the same score but different
    letters or words do not agree, whatever else the policy requires. Of the rules for a third mark only third_stands
    decides between them.
    """

    marks: Annotated[int, Field(strict=True, ge=2, le=10)] = Field(
        default=2, description="number of independent marks that are required"
    )
    within_points: DecimalText | None = Field(
        default=None, description="maximum distance between highest and lowest mark, in points"
    )
    within_percent: DecimalText | None = Field(
        default=None, description="maximum distance in percent of the points possible"
    )
    boundaries: Boundaries | Literal["grading_scheme"] | None = Field(
        default=None, description="ascending percents, or those of the grading scheme: all marks must be in one band"
    )
    result: AdjudicationResult = Field(description="the result if the marks agree")
    rounding: Rounding = Field(default=Rounding(), description="how a computed result is rounded")
    otherwise: Literal["moderator", "third_mark"] = Field(
        default="moderator", description="who decides if the marks do not agree"
    )
    third: ThirdMarkResult | None = Field(
        default=None, description="with third_mark: how the result follows from the first three marks"
    )
