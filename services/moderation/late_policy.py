"""The deduction of a late policy from a score.

Canvas: app/models/late_policy.rb (points_deducted), app/models/submission.rb (late_points_deducted,
score_late_or_none).
"""

from decimal import ROUND_HALF_UP, Context, Decimal

from services.moderation.value_object import value_object

DEDUCTIBLE_GRADING_TYPES = frozenset({"points", "percent", "letter_grade", "gpa_scale"})
INTERVAL_SECONDS = {"hour": 3_600, "day": 86_400}

_ZERO = Decimal(0)
_HUNDREDTH = Decimal("0.01")
# Products of points possible and a percentage, of 17 digits each.
_EXACT_CONTEXT = Context(prec=40)


@value_object(kw_only=True)
class LatePolicy:
    """A course's late policy under Canvas's names.

    ``late_submission_deduction``: percent of the points possible, for each started interval (``hour`` or ``day``);
    ``late_submission_minimum_percent``: percent of the points possible below which nothing is deducted.
    """

    late_submission_deduction_enabled: bool = False
    late_submission_deduction: Decimal = _ZERO
    late_submission_interval: str = "day"
    late_submission_minimum_percent_enabled: bool = False
    late_submission_minimum_percent: Decimal = _ZERO


def round_hundredths(number: Decimal) -> Decimal:
    """Round half up to two decimals, as Canvas keeps percentages and deductions."""
    return number.quantize(_HUNDREDTH, ROUND_HALF_UP, _EXACT_CONTEXT)


def deduction_for_lateness(
    policy: LatePolicy | None, score: Decimal, points_possible: Decimal | None, grading_type: str, seconds_late: int
) -> Decimal:
    """Return the points to deduct from the score of a late submission, rounded to hundredths; 0 if there are none.

    The score's percentage of the points is a binary double, as in Canvas: from 7 of 15 points, with a minimum of 30.5
    percent, at most 2.42 are deducted, where exact arithmetic gives 2.425 and so 2.43.
    """
    if policy is None or not policy.late_submission_deduction_enabled or grading_type not in DEDUCTIBLE_GRADING_TYPES:
        return _ZERO
    if not points_possible or seconds_late <= 0:
        return _ZERO
    started_intervals = -(-seconds_late // INTERVAL_SECONDS[policy.late_submission_interval])
    percent = policy.late_submission_deduction * started_intervals
    score_percent = max(float(score) * 100.0 / float(points_possible), 0.0)
    if policy.late_submission_minimum_percent_enabled:
        percent_max = max(Decimal(repr(score_percent)) - policy.late_submission_minimum_percent, _ZERO)
        percent = min(percent, percent_max)
    elif percent > Decimal(repr(score_percent)):
        return round_hundredths(Decimal(repr(float(points_possible) * score_percent / 100)))
    return round_hundredths(_EXACT_CONTEXT.multiply(points_possible, percent).scaleb(-2, _EXACT_CONTEXT))


def subtract_deduction(score: Decimal, points_deducted: Decimal) -> Decimal:
    """Return the remaining score: 0 if rounding made the deduction larger than the score."""
    return min(_ZERO, score) if points_deducted > score else score - points_deducted
