"""The ruling of a policy on marks: exact arithmetic over values, without any state."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from itertools import combinations
from math import ceil, floor
from typing import Any, TypeAlias

from services.moderation.adjudication_policy import THIRD_MARK, AdjudicationPolicy
from services.moderation.grade_conversion import SCHEME_TYPES, SCORE_MAX, format_number
from services.moderation.grading_scheme import DEFAULT_SCHEME, GradingScheme
from services.moderation.value_object import value_object

# Wide enough for the exact difference of any two scores.
_WIDE_CONTEXT = Context(prec=700)
SCORE_DIGITS = 15
TEXT_TYPES = (*SCHEME_TYPES, "pass_fail")
BasisMark: TypeAlias = tuple[int, Decimal, str | None]
"""A mark's id and score, and its text where all letters or words have the score 0: without points."""
Basis: TypeAlias = tuple[AdjudicationPolicy, Decimal, str, GradingScheme | None, tuple[BasisMark, ...]]
"""What an adjudication depends on: policy, points, grading type, the scheme if the policy needs it, and the marks."""


@value_object()
class Mark:
    """A provisional grade that counts, with its score now; ``text``: as entered."""

    provisional_grade_id: int
    scorer_id: int
    score: Decimal
    text: str | None = None


@value_object()
class Grading:
    """The settings that give a score its meaning. ``points`` 0: the assignment has no points."""

    points: Decimal
    grading_type: str
    scheme: GradingScheme | None


@value_object()
class Ruling:
    """``stands``: the selected mark; None with a score: no grader gave that score.

    ``failed``: names of the comparisons that failed; ``missing``: marks that are still needed;
    ``comparisons``: each with its values, as JSON.
    """

    outcome: str
    score: Decimal | None = None
    stands: Mark | None = None
    failed: tuple[str, ...] = ()
    missing: int = 0
    comparisons: tuple[dict[str, Any], ...] = ()


def counts_texts(grading: Grading) -> bool:
    """Return whether the texts of marks count: without points all letters and words have the score 0."""
    return not grading.points and grading.grading_type in TEXT_TYPES


def build_basis(policy: AdjudicationPolicy, marks: Iterable[Mark], grading: Grading) -> Basis:
    """Return what an adjudication depends on: it holds as long as this stays the same."""
    scheme = grading.scheme if policy.needs_scheme else None
    by_text = counts_texts(grading)
    compared = tuple((mark.provisional_grade_id, mark.score, mark.text if by_text else None) for mark in marks)
    return policy, grading.points, grading.grading_type, scheme, compared


def rule(policy: AdjudicationPolicy, marks: Sequence[Mark], grading: Grading) -> Ruling:
    """Apply a policy to marks in the order in which they were first entered."""
    if len(marks) < policy.marks:
        return Ruling("waiting", missing=policy.marks - len(marks))
    if not policy.suits(grading.grading_type):
        return Ruling("needs_moderator")
    with_third = policy.otherwise == THIRD_MARK
    compared = marks[:2] if with_third else marks
    comparisons = tuple(_compare(policy, compared, grading))
    failed = tuple(comparison["rule"] for comparison in comparisons if not comparison["passed"])
    if failed and not with_third:
        return Ruling("needs_moderator", failed=failed, comparisons=comparisons)
    if failed and len(marks) < 3:
        return Ruling("needs_third_mark", failed=failed, missing=1, comparisons=comparisons)
    if failed:
        compared = marks[:3]
    scores = [Fraction(mark.score) for mark in compared]
    value = _third(policy.third, scores) if failed else _result(policy.result, scores)
    # A score that a grader gave is never rounded.
    given = _find_marks(compared, value)
    score = given[0].score if given else _round(value, policy, grading)
    given = given or _find_marks(compared, Fraction(score))
    if counts_texts(grading):
        if failed and policy.third == "third_stands":
            given = [mark for mark in given if mark.text == compared[2].text]
        if len({mark.text for mark in given}) > 1:
            return Ruling("needs_moderator", failed=failed, comparisons=comparisons)
    return Ruling("agreed", score, given[0] if given else None, failed, comparisons=comparisons)


def _find_marks(marks: Sequence[Mark], value: Fraction) -> list[Mark]:
    return [mark for mark in marks if Fraction(mark.score) == value]


def _compare(policy: AdjudicationPolicy, marks: Sequence[Mark], grading: Grading) -> Iterator[dict[str, Any]]:
    scores = [mark.score for mark in marks]
    distance = _WIDE_CONTEXT.subtract(max(scores), min(scores))
    limits = {"within_points": policy.within_points}
    if policy.within_percent is not None:
        limits["within_percent"] = _WIDE_CONTEXT.multiply(policy.within_percent, grading.points).scaleb(
            -2, _WIDE_CONTEXT
        )
    for name, limit in limits.items():
        if limit is not None:
            yield {
                "rule": name,
                "passed": distance <= limit,
                "distance": format_number(distance),
                "limit": format_number(limit),
            }
    thresholds = find_thresholds(policy, grading)
    if counts_texts(grading) and len({(mark.score, mark.text) for mark in marks}) > len(set(scores)):
        # Letters and words are bands too, whatever the policy: nothing else tells these marks apart.
        yield {"rule": "boundaries", "passed": False, "bands": _number_texts(marks, grading)}
    elif thresholds is not None:
        bands = [find_band(Fraction(score), thresholds, policy) for score in scores]
        yield {"rule": "boundaries", "passed": len(set(bands)) == 1, "bands": bands}


def _number_texts(marks: Sequence[Mark], grading: Grading) -> list[int]:
    """Return the numbers of the different marks from the lowest, by score, then by the place of the text."""
    names = ["incomplete", "complete"]
    if grading.grading_type != "pass_fail":
        ascending = sorted(grading.scheme or DEFAULT_SCHEME, key=lambda band: band[1])
        names = [name for name, _ in ascending]
    places = {name: place for place, name in enumerate(names)}
    keys = [(mark.score, places.get(mark.text or "", -1), mark.text or "") for mark in marks]
    ascending_keys = sorted(set(keys))
    return [ascending_keys.index(key) for key in keys]


def find_thresholds(policy: AdjudicationPolicy, grading: Grading) -> list[Fraction] | None:
    """Return the scores at which bands begin, None without boundaries; without points a score is a percentage."""
    if policy.boundaries is None:
        return None
    if isinstance(policy.boundaries, tuple):
        share = Fraction(grading.points) / 100 if grading.points else Fraction(1)
        return [Fraction(bound) * share for bound in policy.boundaries]
    points = Fraction(grading.points) if grading.points else Fraction(100)
    return [Fraction(bound) * points for _, bound in grading.scheme or DEFAULT_SCHEME]


def find_band(score: Fraction, thresholds: Sequence[Fraction], policy: AdjudicationPolicy) -> int:
    """Count the bands that begin at or below a score; a negative score counts as 0, as it does for letters."""
    counted = max(score, Fraction(0)) if policy.needs_scheme else score
    return sum(threshold <= counted for threshold in thresholds)


def _result(name: str, scores: Sequence[Fraction]) -> Fraction:
    match name:
        case "mean":
            return _mean(scores)
        case "median":
            ordered = sorted(scores)
            return _mean(ordered[(len(ordered) - 1) // 2 : len(ordered) // 2 + 1])
        case "highest":
            return max(scores)
        case "lowest":
            return min(scores)
    return scores[0]


def _third(name: str | None, scores: Sequence[Fraction]) -> Fraction:
    first, second, third = scores
    match name:
        case "mean_of_nearest_two":
            return _mean(min(combinations(scores, 2), key=lambda pair: (abs(pair[0] - pair[1]), -sum(pair))))
        case "nearest_of_first_two":
            return min((first, second), key=lambda score: (abs(score - third), -score))
        case "median":
            return sorted(scores)[1]
    return third


def _mean(scores: Sequence[Fraction]) -> Fraction:
    return sum(scores, Fraction(0)) / len(scores)


def _round(value: Fraction, policy: AdjudicationPolicy, grading: Grading) -> Decimal:
    """Round a computed score, never into another band."""
    thresholds = find_thresholds(policy, grading)
    for candidate in _roundings(value, policy):
        in_band = thresholds is None or find_band(Fraction(candidate), thresholds, policy) == find_band(
            value, thresholds, policy
        )
        if in_band and candidate.copy_abs() <= SCORE_MAX:
            return candidate
    raise AssertionError("a score rounded up or down to 15 digits stays in its band")


def _roundings(value: Fraction, policy: AdjudicationPolicy) -> Iterator[Decimal]:
    """Yield the value rounded by the policy, floored to two decimals, and in 15 digits: nearest, down and up."""
    yield _to_multiple(_round_to_integer(value / Fraction(policy.rounding_step), policy.rounding_mode), policy)
    yield Decimal(floor(value * 100)).scaleb(-2) + 0
    for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING):
        context = Context(prec=SCORE_DIGITS, rounding=rounding)
        yield context.divide(Decimal(value.numerator), Decimal(value.denominator)) + 0


def _to_multiple(count: int, policy: AdjudicationPolicy) -> Decimal:
    return _WIDE_CONTEXT.multiply(Decimal(count), policy.rounding_step)


def _round_to_integer(value: Fraction, mode: str) -> int:
    match mode:
        case "half_up":
            return floor(value + Fraction(1, 2)) if value >= 0 else ceil(value - Fraction(1, 2))
        case "half_even":
            return round(value)
        case "up":
            return ceil(value)
    return floor(value)
