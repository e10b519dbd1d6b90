"""Converts grade texts to scores and back, for every grading type.

Canvas: app/models/abstract_assignment.rb (compute_grade_and_score, interpret_grade, grade_to_score, score_to_grade).
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal

from services.moderation import grading_scheme
from services.moderation.grading_scheme import GradingScheme
from services.moderation.value_object import value_object

SCORE_MAX = Decimal(10) ** 9
GRADE_CHARACTERS_MAX = 255

# Scores are published as JSON numbers, which readers parse as binary doubles: 15 digits survive exactly.
_SCORE_CONTEXT = Context(prec=15)
# Wide enough for any grade text (255 digits) and for any score over any points_possible (about 350 digits).
_WIDE_CONTEXT = Context(prec=700)
_HUNDREDTH = Decimal("0.01")
_ZERO = Decimal(0)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)", re.ASCII)
SCHEME_TYPES = ("letter_grade", "gpa_scale")
_PASS_TEXTS = ("pass", "complete")
_FAIL_TEXTS = ("fail", "incomplete")


@value_object()
class Grade:
    """A score and its text."""

    score: Decimal
    grade: str


def parse_grade(
    text: str,
    grading_type: str,
    points_possible: Decimal | None,
    scheme: GradingScheme | None,
    *,
    prefer_points: bool = False,
) -> Grade | None:
    """Parse a grade text; None if it yields no score.

    ``prefer_points``: a number means points even where the scheme has a band of that name.
    """
    if not text.strip() or grading_type == "not_graded":
        return None
    bands = scheme or grading_scheme.DEFAULT_SCHEME
    score = _parse_score(text, grading_type, points_possible or _ZERO, bands, prefer_points)
    if grading_type == "pass_fail":
        # Unreadable text counts as 0 before the comparison; a readable number must be full points or 0.
        score = _ZERO if score is None else score
        if score not in (_ZERO, points_possible):
            return None
    return None if score is None else _build_grade(score, grading_type, points_possible or _ZERO, bands, text)


def grade_from_score(
    score: Decimal, grading_type: str, points_possible: Decimal | None, scheme: GradingScheme | None
) -> Grade | None:
    """Return the grade of a number of points, which Canvas accepts unchanged for every type but not_graded."""
    if grading_type == "not_graded":
        return None
    return _build_grade(score, grading_type, points_possible or _ZERO, scheme or grading_scheme.DEFAULT_SCHEME, None)


def regrade(
    score: Decimal,
    grade_text: str | None,
    grading_type: str,
    points_possible: Decimal | None,
    scheme: GradingScheme | None,
) -> Grade:
    """Convert a saved grade to other settings by deriving its text from its score.

    For ``pass_fail`` the word is kept and the score follows the points; without a word, a score above 0 is complete.
    """
    points = points_possible or _ZERO
    if grading_type == "pass_fail":
        if grade_text == "complete":
            return Grade(points, grade_text)
        if grade_text == "incomplete":
            return Grade(_ZERO, grade_text)
        return Grade(score, "complete" if score > 0 else "incomplete")
    return Grade(score, _format_grade(score, grading_type, points, scheme or grading_scheme.DEFAULT_SCHEME, grade_text))


def format_number(number: Decimal) -> str:
    """Format a number as plain decimal text without trailing zeros: 85.50 as 85.5, 7.0 as 7, -0.0 as 0."""
    whole = int(number)
    return str(whole) if whole == number else format(number, "f").rstrip("0")


def _parse_score(
    text: str, grading_type: str, points: Decimal, bands: GradingScheme, prefer_points: bool
) -> Decimal | None:
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        return _percent_of(points, Decimal(text[:-1]))
    # A scheme's bands may have numbers as names: they take precedence over points, and points over pass and fail.
    band_percentage = grading_scheme.band_percentage(bands, text) if grading_type in SCHEME_TYPES else None
    if _NUMBER.fullmatch(text):
        return Decimal(text) if band_percentage is None or prefer_points else _percent_of(points, band_percentage)
    if text in _PASS_TEXTS:
        return points
    if text in _FAIL_TEXTS:
        return _ZERO
    return None if band_percentage is None else _percent_of(points, band_percentage)


def _percent_of(points: Decimal, percent: Decimal) -> Decimal:
    return _WIDE_CONTEXT.multiply(points, percent).scaleb(-2, _WIDE_CONTEXT)


def _build_grade(
    score: Decimal, grading_type: str, points: Decimal, bands: GradingScheme, grade_text: str | None
) -> Grade | None:
    """Round the score to 15 significant digits and pair it with its text; None beyond the limits of either."""
    if score.copy_abs() > SCORE_MAX:
        return None
    rounded_score = _SCORE_CONTEXT.plus(score) or _ZERO
    grade = _format_grade(rounded_score, grading_type, points, bands, grade_text)
    return Grade(rounded_score, grade) if len(grade) <= GRADE_CHARACTERS_MAX else None


def _format_grade(
    score: Decimal, grading_type: str, points: Decimal, bands: GradingScheme, grade_text: str | None
) -> str:
    """Return the normalised grade text of a score; ``grade_text``: the text it was parsed from, if any."""
    if grading_type in ("points", "not_graded"):
        return format_number(score)
    if grading_type == "percent":
        return format_number(_to_percent(score, points) if points else score) + "%"
    if grading_type == "pass_fail":
        passed = score > 0 if points else grade_text in _PASS_TEXTS
        return "complete" if passed else "incomplete"
    if points:
        return grading_scheme.band_for_score(bands, score, points)
    # Without points any band fits, so a given name is kept; a score alone is read as a percentage.
    band_name = None if grade_text is None else grading_scheme.canonical_band_name(bands, grade_text)
    return grading_scheme.band_for_score(bands, score, Decimal(100)) if band_name is None else band_name


def _to_percent(score: Decimal, points: Decimal) -> Decimal:
    percent = _WIDE_CONTEXT.divide(score, points).scaleb(2, _WIDE_CONTEXT)
    return percent.quantize(_HUNDREDTH, ROUND_HALF_UP, _WIDE_CONTEXT)
