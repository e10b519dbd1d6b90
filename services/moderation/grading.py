"""Grade text to score and back, for every grading type.

Canvas: app/models/abstract_assignment.rb (grade_to_score, score_to_grade, interpret_grade).
"""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal

from services.moderation import scheme as schemes
from services.moderation.scheme import Scheme

GRADING_TYPES = ("points", "percent", "letter_grade", "gpa_scale", "pass_fail", "not_graded")
SCORE_MAX = Decimal(10) ** 9

# Scores leave as JSON numbers, which readers take for binary doubles: 15 digits survive that exactly.
_ROUNDED = Context(prec=15)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)", re.ASCII)
_SCHEME_TYPES = ("letter_grade", "gpa_scale")
_PASS = ("pass", "complete")
_FAIL = ("fail", "incomplete")


@dataclass(frozen=True, slots=True)
class Grade:
    """What a text or a score comes to."""

    score: Decimal
    grade: str


def normal(score: Decimal) -> Decimal:
    """The score in 15 significant digits, without a negative zero."""
    rounded = _ROUNDED.plus(score)
    return rounded if rounded else Decimal(0)


def number_text(number: Decimal) -> str:
    """Plain decimal text without trailing zeros: 85.50 is 85.5, 7.0 is 7."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def from_text(text: str, grading_type: str, points_possible: Decimal | None, scheme: Scheme | None) -> Grade | None:
    """Grade and score of a grade text that is not empty; None if it yields no score."""
    bands = scheme or schemes.DEFAULT
    score = _score(text, grading_type, points_possible or Decimal(0), bands)
    if grading_type == "pass_fail":
        # Unreadable text is taken for 0 before it is compared; a readable number must be full points or 0.
        score = Decimal(0) if score is None else score
        if score not in (Decimal(0), points_possible or Decimal(0)):
            return None
    if score is None or grading_type == "not_graded" or abs(score) > SCORE_MAX:
        return None
    score = normal(score)
    return Grade(score, to_text(score, grading_type, points_possible, bands, given=text))


def from_score(
    score: Decimal, grading_type: str, points_possible: Decimal | None, scheme: Scheme | None
) -> Grade | None:
    """Grade and score of a number of points; None if the type takes no such score."""
    if grading_type == "not_graded" or abs(score) > SCORE_MAX:
        return None
    if grading_type == "pass_fail" and score not in (Decimal(0), points_possible or Decimal(0)):
        return None
    score = normal(score)
    return Grade(score, to_text(score, grading_type, points_possible, scheme or schemes.DEFAULT))


def _score(text: str, grading_type: str, points: Decimal, bands: Scheme) -> Decimal | None:
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        percent = Decimal(text[:-1])
        return points * percent.scaleb(-2)
    by_name = schemes.percent_of(bands, text) if grading_type in _SCHEME_TYPES else None
    if _NUMBER.fullmatch(text):
        return Decimal(text) if by_name is None else points * by_name.scaleb(-2)
    if text.casefold() in _PASS:
        return points
    if text.casefold() in _FAIL:
        return Decimal(0)
    return None if by_name is None else points * by_name.scaleb(-2)


def to_text(
    score: Decimal, grading_type: str, points_possible: Decimal | None, bands: Scheme, given: str | None = None
) -> str:
    """The normalised grade text of a score; ``given``: the text it came from, if any."""
    points = points_possible or Decimal(0)
    if grading_type == "percent":
        percent = score / points * 100 if points else score
        return number_text(percent.quantize(Decimal("0.01"), ROUND_HALF_UP)) + "%"
    if grading_type == "pass_fail":
        passed = given is not None and given.casefold() in _PASS if not points else score > 0
        return "complete" if passed else "incomplete"
    if grading_type in _SCHEME_TYPES:
        if points:
            return schemes.name_of(bands, score / points * 100)
        named = None if given is None else schemes.own_case(bands, given)
        return named if named is not None else schemes.name_of(bands, score)
    return number_text(score)
