"""What follows from marks under a policy, implemented a second time from the contract (8.4) in exact fractions."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import combinations
from math import ceil, floor
from typing import Any

from tests.unit.moderation.reference_grades import DEFAULT_BANDS, SCHEME_TYPES, Bands

PASS_FAIL_ONLY = ("highest", "lowest", "first", "nearest_of_first_two", "third_stands")


def takes(policy: Any, grading_type: str) -> bool:
    """Whether a grading type takes the policy's results."""
    if grading_type == "not_graded":
        return False
    wanted = [policy.result] if policy.third is None else [policy.result, policy.third]
    return grading_type != "pass_fail" or all(name in PASS_FAIL_ONLY for name in wanted)


def boundary_scores(policy: Any, points: Fraction, bands: Bands | None) -> list[Fraction] | None:
    """Scores at which a band begins; of no points the score is the percent."""
    if policy.boundaries is None:
        return None
    if policy.boundaries == "grading_scheme":
        return [bound * (points or 100) for _, bound in bands or DEFAULT_BANDS]
    return [Fraction(bound) * (points / 100 if points else 1) for bound in policy.boundaries]


def band_of(score: Fraction, starts: Sequence[Fraction], policy: Any) -> int:
    if policy.boundaries == "grading_scheme" and score < 0:
        score = Fraction(0)
    return len([start for start in starts if start <= score])


def failures(policy: Any, scores: Sequence[Fraction], points: Fraction, bands: Bands | None) -> list[str]:
    apart, failed = max(scores) - min(scores), []
    if policy.within_points is not None and apart > Fraction(policy.within_points):
        failed.append("within_points")
    if policy.within_percent is not None and apart * 100 > Fraction(policy.within_percent) * points:
        failed.append("within_percent")
    starts = boundary_scores(policy, points, bands)
    if starts is not None and len({band_of(score, starts, policy) for score in scores}) > 1:
        failed.append("boundaries")
    return failed


def combine(name: str, scores: Sequence[Fraction]) -> Fraction:
    if name == "first":
        return scores[0]
    if name == "third_stands":
        return scores[2]
    if name in ("highest", "lowest"):
        return max(scores) if name == "highest" else min(scores)
    if name == "mean":
        return sum(scores, Fraction(0)) / len(scores)
    if name == "median":
        low, high = sorted(scores)[(len(scores) - 1) // 2], sorted(scores)[len(scores) // 2]
        return (low + high) / 2
    if name == "nearest_of_first_two":
        first, second, third = scores
        if abs(first - third) == abs(second - third):
            return max(first, second)
        return first if abs(first - third) < abs(second - third) else second
    nearest = min(abs(one - other) for one, other in combinations(scores, 2))
    return max((one + other) / 2 for one, other in combinations(scores, 2) if abs(one - other) == nearest)


def rounded(value: Fraction, policy: Any, starts: Sequence[Fraction] | None) -> Fraction:
    """Round a computed score by the policy; where that leaves its band floor it, or leave it as it is."""
    steps = value / Fraction(policy.rounding_step)
    by_policy = {
        "half_up": floor(abs(steps) + Fraction(1, 2)) * (1 if steps >= 0 else -1),
        "half_even": round(steps),
        "up": ceil(steps),
        "down": floor(steps),
    }[policy.rounding_mode] * Fraction(policy.rounding_step)
    candidates = [by_policy, Fraction(floor(value * 100), 100)]
    for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING):
        digits = Context(prec=15, rounding=rounding).divide(Decimal(value.numerator), Decimal(value.denominator))
        candidates.append(Fraction(digits))
    if starts is None:
        return by_policy
    return next(one for one in candidates if band_of(one, starts, policy) == band_of(value, starts, policy))


def rule_marks(
    policy: Any, given: Sequence[tuple[Fraction, str | None]], points: Fraction, grading_type: str, bands: Bands | None
) -> tuple[str, Fraction | None, list[str], int, int | None]:
    """Return outcome, agreed score, failed comparisons, marks still needed, and the index of the mark that stands.

    ``given``: scores and texts as first entered. Without points one score may have several letters or words.
    """
    if len(given) < policy.marks:
        return "waiting", None, [], policy.marks - len(given), None
    if not takes(policy, grading_type):
        return "needs_moderator", None, [], 0, None
    by_text = not points and grading_type in (*SCHEME_TYPES, "pass_fail")
    has_third = policy.otherwise == "third_mark"
    compared = given[:2] if has_third else given
    failed = failures(policy, [score for score, _ in compared], points, bands)
    clash = any(one[0] == other[0] and one[1] != other[1] for one, other in combinations(compared, 2))
    if by_text and clash and "boundaries" not in failed:
        failed.append("boundaries")
    if failed and not has_third:
        return "needs_moderator", None, failed, 0, None
    if failed and len(given) == 2:
        return "needs_third_mark", None, failed, 1, None
    compared = given[:3] if failed else compared
    scores = [score for score, _ in compared]
    rule = policy.third if failed else policy.result
    value = combine(rule, scores)
    if value not in scores:
        value = rounded(value, policy, boundary_scores(policy, points, bands))
    holders = [index for index, score in enumerate(scores) if score == value]
    if by_text and rule == "third_stands":
        holders = [index for index in holders if compared[index][1] == compared[2][1]]
    elif by_text and len({compared[index][1] for index in holders}) > 1:
        return "needs_moderator", None, failed, 0, None
    return "agreed", value, failed, 0, min(holders, default=None)
