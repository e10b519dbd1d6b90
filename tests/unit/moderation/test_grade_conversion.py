"""Grade texts and scores at the edges of the decision table."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.moderation import grading_scheme
from services.moderation.grade_conversion import GRADE_CHARACTERS_MAX, SCORE_MAX, Grade, grade_from_score, parse_grade
from services.moderation.grading_scheme import GradingScheme
from services.moderation.json_values import decimal_from_json, decimal_to_json

TEN, ZERO = Decimal(10), Decimal(0)
GPA: GradingScheme = (("4.0", Decimal("0.9")), ("3.0", Decimal("0.8")), ("0", Decimal(0)))
ANY_TYPE = some.sampled_from(["points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded"])
ANY_POINTS = some.none() | some.floats(0, 1e9).map(lambda value: Decimal(repr(value)))


def parse_text(
    given_text: str, kind: str = "points", points: Decimal | None = TEN, bands: GradingScheme | None = None
) -> Grade | None:
    return parse_grade(given_text, kind, points, bands)


@pytest.mark.parametrize(
    "unreadable", ["5.", "1e3", "1,5", "5 ", "\t", " ", "", "٣", "５", "+", "%", "--5", "5%%", "NaN", "inf", "0x1F"]
)
@pytest.mark.parametrize("kind", ["points", "percent", "letter_grade"])
def test_non_plain_number_yields_no_score(unreadable: str, kind: str) -> None:
    assert parse_text(unreadable, kind) is None


@pytest.mark.parametrize(
    ("given_text", "score", "grade"),
    [
        ("85.50", "85.5", "85.5"),
        ("+7", "7", "7"),
        ("-0", "0", "0"),
        ("-0.0%", "0", "0"),
        ("007", "7", "7"),
        ("1000000000", "1000000000", "1000000000"),
        ("0.1234567890123456", "0.123456789012346", "0.123456789012346"),
        ("pass", "10", "10"),
        ("incomplete", "0", "0"),
    ],
)
def test_points_text_is_normalized(given_text: str, score: str, grade: str) -> None:
    assert parse_text(given_text) == Grade(Decimal(score), grade)


def test_score_beyond_the_maximum_is_rejected() -> None:
    assert parse_text("1000000000.01") is None
    assert parse_text("-1000000001") is None
    assert parse_text("9" * 255) is None
    assert parse_text("1" + "0" * 200 + "%", points=TEN) is None
    assert grade_from_score(SCORE_MAX, "points", TEN, None) == Grade(SCORE_MAX, "1000000000")


def test_overlong_grade_text_is_rejected() -> None:
    assert grade_from_score(Decimal("1e-300"), "points", TEN, None) is None
    assert grade_from_score(Decimal("1e9"), "percent", Decimal("1e-300"), None) is None


def test_percentage_of_tiny_points_is_a_plain_number() -> None:
    assert grade_from_score(Decimal("1e9"), "percent", Decimal("1e-30"), None) == Grade(
        Decimal("1e9"), "1" + "0" * 41 + "%"
    )


def test_percentage_is_rounded_half_away_from_zero_to_hundredths() -> None:
    assert grade_from_score(Decimal("0.33335"), "percent", TEN, None) == Grade(Decimal("0.33335"), "3.33%")
    assert grade_from_score(Decimal("0.3335"), "percent", TEN, None) == Grade(Decimal("0.3335"), "3.34%")
    assert grade_from_score(Decimal("-0.3335"), "percent", TEN, None) == Grade(Decimal("-0.3335"), "-3.34%")
    assert grade_from_score(Decimal("-0.0001"), "percent", TEN, None) == Grade(Decimal("-0.0001"), "0%")


def test_percentage_of_zero_points_is_the_unrounded_score() -> None:
    assert grade_from_score(Decimal("1.23456"), "percent", ZERO, None) == Grade(Decimal("1.23456"), "1.23456%")
    assert grade_from_score(Decimal("1.23456"), "percent", None, None) == Grade(Decimal("1.23456"), "1.23456%")
    assert parse_text("50%", "percent", None) == Grade(ZERO, "0%")


def test_number_selects_the_band_with_the_same_name() -> None:
    assert parse_text("3", "gpa_scale", TEN, GPA) == Grade(Decimal("8.9"), "3.0")
    assert parse_text("4.00", "gpa_scale", TEN, GPA) == Grade(TEN, "4.0")
    assert parse_text("3.5", "gpa_scale", TEN, GPA) == Grade(Decimal("3.5"), "0")
    assert parse_text("+3", "gpa_scale", TEN, GPA) == Grade(Decimal(3), "0")


@pytest.mark.parametrize("kind", ["letter_grade", "gpa_scale"])
def test_prefer_points_reads_a_number_as_points(kind: str) -> None:
    assert parse_grade("3", kind, TEN, GPA, prefer_points=True) == Grade(Decimal(3), "0")
    assert parse_grade("0", kind, TEN, GPA, prefer_points=True) == Grade(ZERO, "0")
    # Everything else is read in the same way.
    assert parse_grade("30%", kind, TEN, GPA, prefer_points=True) == Grade(Decimal(3), "0")
    assert parse_grade("b", kind, TEN, None, prefer_points=True) == parse_text("b", kind)


def test_band_letters_are_case_insensitive_and_written_as_in_the_scheme() -> None:
    assert parse_text("a-", "letter_grade", Decimal(100)) == Grade(Decimal(93), "A-")
    assert parse_text("b\N{MINUS SIGN}", "letter_grade", ZERO) == Grade(ZERO, "B-")
    assert parse_text("Z", "letter_grade") is None


@pytest.mark.parametrize(("below", "percent"), [("0.89", "89"), ("0.8901", "89.9"), ("0.5", "89")])
def test_wide_band_steps_down_by_a_whole_point(below: str, percent: str) -> None:
    bands: GradingScheme = (("A", Decimal("0.9")), ("B", Decimal(below)), ("C", ZERO))
    assert grading_scheme.band_percentage(bands, "B") == Decimal(percent)


def test_rounding_never_raises_a_score_into_a_higher_band() -> None:
    assert grade_from_score(Decimal("8.99999999999999"), "letter_grade", TEN, None) == Grade(
        Decimal("8.99999999999999"), "B+"
    )
    assert grade_from_score(Decimal("9"), "letter_grade", TEN, None) == Grade(Decimal(9), "A-")
    thirds: GradingScheme = (("upper", Decimal("0.333333333333333")), ("lower", ZERO))
    assert grade_from_score(Decimal(1), "letter_grade", Decimal(3), thirds) == Grade(Decimal(1), "upper")


def test_score_outside_the_scheme_gets_the_nearest_band() -> None:
    assert grade_from_score(Decimal(-5), "letter_grade", TEN, None) == Grade(Decimal(-5), "F")
    assert grade_from_score(Decimal(50), "letter_grade", TEN, None) == Grade(Decimal(50), "A")
    assert grading_scheme.band_for_score((("high", Decimal("0.9")), ("low", Decimal("0.5"))), Decimal(1), TEN) == "low"


def test_scheme_is_ordered_by_its_bounds() -> None:
    shuffled: GradingScheme = (("low", ZERO), ("high", Decimal("0.9")), ("middle", Decimal("0.5")))
    assert parse_text("middle", "letter_grade", TEN, shuffled) == Grade(Decimal("8.9"), "middle")


def test_pass_and_complete_are_exact_words() -> None:
    assert parse_text("complete", "pass_fail") == Grade(TEN, "complete")
    assert parse_text("Complete", "pass_fail") == Grade(ZERO, "incomplete")
    assert parse_text("Pass") is None


def test_pass_fail_text_is_all_or_nothing_and_score_is_kept() -> None:
    assert parse_text("5", "pass_fail") is None
    assert parse_text("10.0", "pass_fail") == Grade(TEN, "complete")
    assert parse_text(" ", "pass_fail") is None
    assert parse_text("what", "pass_fail") == Grade(ZERO, "incomplete")
    assert parse_text("pass", "pass_fail", None) == Grade(ZERO, "complete")
    assert grade_from_score(Decimal(5), "pass_fail", TEN, None) == Grade(Decimal(5), "complete")


def test_ungraded_assignment_never_yields_a_score() -> None:
    assert parse_text("5", "not_graded") is None
    assert grade_from_score(Decimal(5), "not_graded", TEN, None) is None


@pytest.mark.slow
@given(some.text(max_size=255), ANY_TYPE, ANY_POINTS)
def test_any_text_yields_a_valid_grade_or_none(any_text: str, kind: str, points: Decimal | None) -> None:
    grade = parse_grade(any_text, kind, points, None)
    assert grade is None or (abs(grade.score) <= SCORE_MAX and len(grade.grade) <= GRADE_CHARACTERS_MAX)


@given(some.floats(-1e9, 1e9), ANY_TYPE, ANY_POINTS)
def test_any_score_survives_serialization(score: float, kind: str, points: Decimal | None) -> None:
    grade = grade_from_score(Decimal(repr(score)), kind, points, GPA)
    assert grade is None or decimal_from_json(decimal_to_json(grade.score)) == grade.score
