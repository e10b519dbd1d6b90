"""Points deducted for lateness: Canvas's own cases, then properties of every policy and score."""

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.moderation.late_policy import (
    LatePolicy,
    deduction_for_lateness,
    round_hundredths,
    subtract_deduction,
)

HOUR, DAY = 3_600, 86_400


def late_policy(deduct: str, every: str = "day", down_to: str | None = None) -> LatePolicy:
    return LatePolicy(
        late_submission_deduction_enabled=True,
        late_submission_deduction=Decimal(deduct),
        late_submission_interval=every,
        late_submission_minimum_percent_enabled=down_to is not None,
        late_submission_minimum_percent=Decimal(down_to or 0),
    )


def deducted(
    policy: LatePolicy | None,
    score: str,
    points_possible: str | None,
    seconds_late: int,
    grading_type: str = "points",
) -> Decimal:
    points = None if points_possible is None else Decimal(points_possible)
    return deduction_for_lateness(policy, Decimal(score), points, grading_type, seconds_late)


@pytest.mark.parametrize(
    ("policy", "score", "points", "seconds_late", "expected"),
    [
        pytest.param(late_policy("5", "hour"), "1000", "1000", 12 * HOUR, "600", id="increases by hour"),
        pytest.param(late_policy("15"), "1000", "1000", 3 * DAY, "450", id="increases by day"),
        pytest.param(late_policy("10"), "1000", "1000", 25 * HOUR, "200", id="a started day counts as a whole one"),
        pytest.param(late_policy("10"), "1000", "1000", 24 * HOUR, "100", id="a day and no more is one day"),
        pytest.param(late_policy("10"), "1000", "1000", 1, "100", id="a second late is a day late"),
        pytest.param(late_policy("10", "hour"), "1000", "1000", HOUR + 1, "200", id="a started hour counts"),
        pytest.param(late_policy("10", down_to="30"), "800", "1000", 2 * DAY, "200", id="above the minimum"),
        pytest.param(late_policy("10", down_to="30"), "800", "1000", 7 * DAY, "500", id="stops at the minimum"),
        pytest.param(late_policy("10", down_to="30"), "200", "1000", 8 * DAY, "0", id="nothing below the minimum"),
        pytest.param(late_policy("1", "hour"), "10", "10", 6 * HOUR, "0.6", id="fractional points"),
        pytest.param(late_policy("2.35"), "10", "10", DAY, "0.24", id="hundredths, half up"),
        pytest.param(late_policy("10"), "1200", "1000", DAY, "100", id="extra credit: percent of the points possible"),
        pytest.param(late_policy("10"), "1200", "1000", 13 * DAY, "1200", id="extra credit can be lost whole"),
        pytest.param(late_policy("10", down_to="30"), "1200", "1000", 13 * DAY, "900", id="extra credit to minimum"),
        pytest.param(late_policy("100", down_to="30.5"), "7", "15", DAY, "2.42", id="percentage is a double"),
        pytest.param(late_policy("100"), "0.285", "3", DAY, "0.28", id="the whole score goes through a double"),
        pytest.param(late_policy("10"), "-5", "10", DAY, "0", id="a negative score has nothing to lose"),
        pytest.param(late_policy("10"), "0", "10", DAY, "0", id="a score of zero has nothing to lose"),
        pytest.param(late_policy("0"), "8", "10", DAY, "0", id="a deduction of zero percent"),
        pytest.param(late_policy("10"), "1e9", "1e-300", DAY, "0", id="points too few for a percentage"),
        pytest.param(late_policy("100", "hour"), "1e9", "1e9", 2**31 - 1, "1e9", id="the largest of everything"),
    ],
)
def test_deduction_is_canvas(policy: LatePolicy, score: str, points: str, seconds_late: int, expected: str) -> None:
    assert deducted(policy, score, points, seconds_late) == Decimal(expected)


@pytest.mark.parametrize("grading_type", ["points", "percent", "letter_grade", "gpa_scale"])
def test_points_are_deducted_from_scores(grading_type: str) -> None:
    assert deducted(late_policy("10"), "8", "10", DAY, grading_type) == 1


@pytest.mark.parametrize("grading_type", ["pass_fail", "not_graded"])
def test_grading_types_without_points_have_no_deduction(grading_type: str) -> None:
    assert deducted(late_policy("10"), "8", "10", DAY, grading_type) == 0


@pytest.mark.parametrize("points", [None, "0"])
def test_nothing_is_deducted_without_points(points: str | None) -> None:
    assert deducted(late_policy("10"), "8", points, DAY) == 0


def test_nothing_is_deducted_without_an_enabled_policy() -> None:
    assert deducted(None, "8", "10", DAY) == 0
    assert deducted(LatePolicy(late_submission_deduction=Decimal(10)), "8", "10", DAY) == 0


def test_nothing_is_deducted_from_work_in_time() -> None:
    assert deducted(late_policy("10"), "8", "10", 0) == 0


@pytest.mark.parametrize(
    ("score", "points_deducted", "left"),
    [
        ("800", "300", "500"),
        ("9.99", "0.24", "9.75"),
        pytest.param("0.555", "0.56", "0", id="a score of three decimals that is lost whole"),
        pytest.param("-5", "0", "-5", id="a negative score stays"),
        ("8", "8", "0"),
    ],
)
def test_deduction_is_subtracted_and_never_exceeds_the_score(score: str, points_deducted: str, left: str) -> None:
    assert subtract_deduction(Decimal(score), Decimal(points_deducted)) == Decimal(left)


@pytest.mark.parametrize(("stated", "kept"), [("25.223", "25.22"), ("25.225", "25.23"), ("100", "100")])
def test_percentages_are_kept_in_hundredths(stated: str, kept: str) -> None:
    assert round_hundredths(Decimal(stated)) == Decimal(kept)


scores = some.decimals(-20, 200, places=2)
points = some.decimals("0.5", 150, places=1)
percentages = some.decimals(0, 100, places=2)
policies = some.builds(
    LatePolicy,
    late_submission_deduction_enabled=some.just(True),
    late_submission_deduction=percentages,
    late_submission_interval=some.sampled_from(["hour", "day"]),
    late_submission_minimum_percent_enabled=some.booleans(),
    late_submission_minimum_percent=percentages,
)


@given(policies, scores, points, some.integers(0, 40 * DAY))
def test_deduction_is_within_a_hundredth_of_the_exact_one(
    policy: LatePolicy, score: Decimal, points_possible: Decimal, seconds_late: int
) -> None:
    hours = 1 if policy.late_submission_interval == "hour" else 24
    per_interval = Fraction(policy.late_submission_deduction) / 100 * Fraction(points_possible)
    minimum = policy.late_submission_minimum_percent if policy.late_submission_minimum_percent_enabled else Decimal(0)
    floor = Fraction(minimum) / 100 * Fraction(points_possible)
    exact = min(per_interval * ceil(Fraction(seconds_late, hours * HOUR)), max(Fraction(score) - floor, Fraction(0)))
    result = deduction_for_lateness(policy, score, points_possible, "points", seconds_late)
    assert abs(Fraction(result) - exact) <= Fraction(1, 100)


@given(policies, scores, points, some.integers(0, 40 * DAY), some.integers(0, DAY))
def test_more_lateness_never_costs_less_and_no_score_becomes_negative(
    policy: LatePolicy, score: Decimal, points_possible: Decimal, seconds_late: int, more: int
) -> None:
    early = deduction_for_lateness(policy, score, points_possible, "points", seconds_late)
    later = deduction_for_lateness(policy, score, points_possible, "points", seconds_late + more)
    assert 0 <= early <= later
    assert subtract_deduction(score, later) >= min(score, Decimal(0))
