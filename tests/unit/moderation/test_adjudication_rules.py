"""The ruling of a policy on marks: the golden table, and properties for any marks."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from services.moderation.adjudication_policy import AdjudicationPolicy, policy_from_json, policy_to_json
from services.moderation.adjudication_rules import Grading, Mark, Ruling, find_band, find_thresholds, rule
from tests.fixtures.canvas import CANVAS_CASES

CASES = json.loads((CANVAS_CASES / "adjudication_cases.json").read_text())["cases"]
DEFAULTS: dict[str, Any] = {
    "marks": 2, "within_points": None, "within_percent": None, "boundaries": None, "otherwise": "moderator",
    "third": None, "rounding": {"step": "0.01", "mode": "half_up"},
}  # fmt: skip


def rule_on(policy: AdjudicationPolicy, points: Decimal, *scores: Decimal, grading_type: str = "points") -> Ruling:
    marks = [Mark(number, 20 + number, score) for number, score in enumerate(scores)]
    return rule(policy, marks, Grading(points, grading_type, None))


@pytest.mark.cases("adjudication cases through the rules")
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES])
def test_golden_table(case: dict[str, Any]) -> None:
    expected = case["expect"]
    policy = policy_from_json({**DEFAULTS, **case["policy"]})
    assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy

    ruling = rule_on(policy, Decimal(case["points_possible"]), *map(Decimal, case["marks"]))

    assert ruling.outcome == expected["outcome"]
    assert list(ruling.failed) == expected.get("failed", [])
    if "missing" in expected:
        assert ruling.missing == expected["missing"]
    if "score" in expected:
        assert ruling.score == Decimal(expected["score"])
        assert (None if ruling.stands is None else ruling.stands.provisional_grade_id) == expected["stands"]


scores = some.decimals(-20, 120, places=3) | some.integers(0, 100).map(Decimal)
points = some.sampled_from([Decimal(text) for text in ("0", "9", "40", "100")])
boundaries = some.none() | some.lists(some.decimals(0, 120, places=3), min_size=1, max_size=5, unique=True).map(
    lambda bounds: tuple(sorted(bounds))
)
policies = some.builds(
    AdjudicationPolicy,
    boundaries=boundaries | some.just("grading_scheme"),
    within_points=some.none() | some.decimals(0, 50, places=2),
    result=some.sampled_from(["mean", "median", "highest", "lowest", "first"]),
    rounding_step=some.sampled_from([Decimal(text) for text in ("0.0001", "0.01", "0.3", "0.5", "1", "7", "1000")]),
    rounding_mode=some.sampled_from(["half_up", "half_even", "up", "down"]),
)
third_mark_policies = some.builds(
    lambda policy, third: AdjudicationPolicy(
        boundaries=policy.boundaries, within_points=policy.within_points, result=policy.result,
        rounding_step=policy.rounding_step, rounding_mode=policy.rounding_mode, otherwise="third_mark", third=third,
    ),
    policies,
    some.sampled_from(["mean_of_nearest_two", "nearest_of_first_two", "median", "third_stands"]),
)  # fmt: skip


@pytest.mark.slow
@given(policies | third_mark_policies, points, some.lists(scores, min_size=2, max_size=6))
def test_rounding_crosses_no_boundary_and_leaves_given_marks_alone(
    policy: AdjudicationPolicy, points_possible: Decimal, given_scores: list[Decimal]
) -> None:
    ruling = rule_on(policy, points_possible, *given_scores)
    assume(ruling.score is not None)
    assert ruling.score is not None
    assert len(ruling.score.as_tuple().digits) <= 15
    exact = exact_result(policy, ruling, given_scores)
    if exact in map(Fraction, given_scores[:3] if policy.third else given_scores):
        assert Fraction(ruling.score) == exact
    grading = Grading(points_possible, "points", None)
    thresholds = find_thresholds(policy, grading)
    if thresholds is not None:
        assert find_band(Fraction(ruling.score), thresholds, policy) == find_band(exact, thresholds, policy)


def exact_result(policy: AdjudicationPolicy, ruling: Ruling, given_scores: list[Decimal]) -> Fraction:
    """Return the result before rounding, by using the smallest step and no boundaries."""
    fractions = [Fraction(score) for score in given_scores]
    if ruling.failed:
        first, second, third = fractions[:3]
        pairs = sorted(
            ((abs(a - b), -(a + b)), (a + b) / 2) for a, b in ((first, second), (first, third), (second, third))
        )
        return {
            "mean_of_nearest_two": pairs[0][1],
            "nearest_of_first_two": max(
                score for score in (first, second) if abs(score - third) == min(abs(first - third), abs(second - third))
            ),
            "median": sorted((first, second, third))[1],
            "third_stands": third,
        }[policy.third or ""]
    compared = fractions[:2] if policy.third else fractions
    ordered, middle = sorted(compared), len(compared) // 2
    return {
        "mean": sum(compared, Fraction(0)) / len(compared),
        "median": ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2,
        "highest": ordered[-1],
        "lowest": ordered[0],
        "first": compared[0],
    }[policy.result]


@settings(max_examples=100)
@given(
    some.sampled_from(["mean", "median", "highest", "lowest"]),
    some.lists(scores, min_size=2, max_size=6),
    some.integers(0, 5),
    some.decimals(0, 30, places=2),
)
def test_raising_a_mark_never_lowers_the_result(
    result: str, given_scores: list[Decimal], index: int, raised_by: Decimal
) -> None:
    policy = AdjudicationPolicy(result=result, rounding_step=Decimal("0.0001"))
    raised = list(given_scores)
    raised[index % len(raised)] += raised_by
    before, after = (rule_on(policy, Decimal(100), *marks).score for marks in (given_scores, raised))
    assert before is not None
    assert after is not None
    assert before <= after + Decimal("0.0001")


@pytest.mark.parametrize(
    ("grading_type", "result", "outcome"),
    [
        ("pass_fail", "mean", "needs_moderator"),
        ("pass_fail", "first", "agreed"),
        ("not_graded", "first", "needs_moderator"),
    ],
)
def test_student_needs_the_moderator_if_the_grading_type_does_not_suit_the_policy(
    grading_type: str, result: str, outcome: str
) -> None:
    policy = AdjudicationPolicy(result=result)
    assert rule_on(policy, Decimal(10), Decimal(10), Decimal(10), grading_type=grading_type).outcome == outcome


def test_boundaries_of_the_scheme_are_letters() -> None:
    policy = AdjudicationPolicy(result="mean", boundaries="grading_scheme")
    assert rule_on(policy, Decimal(10), Decimal("9.4"), Decimal(10)).outcome == "agreed"
    assert rule_on(policy, Decimal(10), Decimal("9.39"), Decimal(10)).failed == ("boundaries",)
    assert rule_on(policy, Decimal(10), Decimal(-5), Decimal(0)).outcome == "agreed"
    assert rule_on(policy, Decimal(0), Decimal(94), Decimal("93.9")).failed == ("boundaries",)


def test_computed_score_is_floored_if_rounding_would_lift_it_into_another_band() -> None:
    whole = AdjudicationPolicy(result="mean", boundaries=(Decimal(60),), rounding_step=Decimal(1))
    assert rule_on(whole, Decimal(100), Decimal("59.51"), Decimal("59.9")).score == Decimal("59.70")
    assert rule_on(whole, Decimal(100), Decimal("59.996"), Decimal("59.998")).score == Decimal("59.99")
    lower = AdjudicationPolicy(result="mean", boundaries=(Decimal("59.995"),), rounding_step=Decimal(1))
    assert rule_on(lower, Decimal(100), Decimal("59.996"), Decimal("59.999")).score == Decimal(60)
    upper = AdjudicationPolicy(result="mean", boundaries=(Decimal("59.995"), Decimal(60)), rounding_step=Decimal(1))
    assert rule_on(upper, Decimal(100), Decimal("59.996"), Decimal("59.999")).score == Decimal("59.9975")


def rule_on_words(policy: AdjudicationPolicy, grading_type: str, *words: str, scores: tuple[int, ...] = ()) -> Ruling:
    """Apply a policy to letters or words of an assignment without points; their score is 0 unless given."""
    marks = [
        Mark(number, 20 + number, Decimal(scores[number] if scores else 0), word) for number, word in enumerate(words)
    ]
    return rule(policy, marks, Grading(Decimal(0), grading_type, None))


def third_mark_policy(third: str) -> AdjudicationPolicy:
    return AdjudicationPolicy(result="highest", otherwise="third_mark", third=third)


@pytest.mark.parametrize("result", ["highest", "lowest", "first"])
@pytest.mark.parametrize(
    ("grading_type", "words", "bands"),
    [
        ("pass_fail", ("complete", "incomplete"), [1, 0]),
        ("letter_grade", ("A", "F"), [1, 0]),
        ("gpa_scale", ("B", "A", "A"), [0, 1, 1]),
    ],
)
def test_without_points_different_letters_or_words_of_one_score_do_not_agree(
    grading_type: str, result: str, words: tuple[str, ...], bands: list[int]
) -> None:
    for boundaries in (None, (Decimal(50),)):
        ruling = rule_on_words(AdjudicationPolicy(result=result, boundaries=boundaries), grading_type, *words)
        assert (ruling.outcome, ruling.failed, ruling.stands) == ("needs_moderator", ("boundaries",), None)
        assert ruling.comparisons == ({"rule": "boundaries", "passed": False, "bands": bands},)


@pytest.mark.parametrize(
    ("third", "words", "outcome", "stands"),
    [
        ("third_stands", ("incomplete", "complete"), "needs_third_mark", None),
        ("third_stands", ("incomplete", "complete", "complete"), "agreed", 1),
        ("third_stands", ("incomplete", "complete", "incomplete"), "agreed", 0),
        ("nearest_of_first_two", ("incomplete", "complete"), "needs_third_mark", None),
        ("nearest_of_first_two", ("incomplete", "complete", "complete"), "needs_moderator", None),
    ],
)
def test_third_mark_decides_between_two_words_of_one_score_only_where_it_stands(
    third: str, words: tuple[str, ...], outcome: str, stands: int | None
) -> None:
    ruling = rule_on_words(third_mark_policy(third), "pass_fail", *words)
    assert (ruling.outcome, ruling.failed) == (outcome, ("boundaries",))
    assert (None if ruling.stands is None else ruling.stands.provisional_grade_id) == stands


@pytest.mark.parametrize("third", ["median", "mean_of_nearest_two"])
def test_two_letters_of_one_score_need_the_moderator_unless_the_third_mark_stands(third: str) -> None:
    letters = ("A", "F", "B")
    assert rule_on_words(third_mark_policy(third), "letter_grade", *letters).outcome == "needs_moderator"
    other_score = rule_on_words(third_mark_policy(third), "letter_grade", *letters, scores=(0, 0, 85))
    assert other_score.outcome == "needs_moderator"
    stands = rule_on_words(third_mark_policy("third_stands"), "letter_grade", *letters, scores=(0, 0, 85))
    assert (stands.outcome, stands.score) == ("agreed", Decimal(85))


def test_without_points_the_same_words_agree_and_different_scores_are_compared() -> None:
    lowest = AdjudicationPolicy(result="lowest")
    assert rule_on_words(lowest, "pass_fail", "complete", "complete").outcome == "agreed"
    assert rule_on_words(lowest, "letter_grade", "B", "A", scores=(85, 95)).score == Decimal(85)
    assert rule_on_words(lowest, "points", "0", "none").outcome == "agreed"
