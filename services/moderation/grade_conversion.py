"""Grade text to score and back, for every grading type.

Canvas: app/models/abstract_assignment.rb (compute_grade_and_score, interpret_grade, grade_to_score, score_to_grade).
"""

import re
from decimal import ROUND_HALF_UP, Context, Decimal

from services.moderation import grading_scheme
from services.moderation.grading_scheme import Scheme
from services.moderation.value_object import record

SCORE_MAX = Decimal(10) ** 9
GRADE_CHARACTERS_MAX = 255

# Scores leave as JSON numbers, which readers take for binary doubles: 15 digits survive that exactly.
_ROUNDED = Context(prec=15)
# Wide enough for any grade text (255 digits) and for any score over any points_possible (about 350 digits).
_WIDE = Context(prec=700)
_HUNDREDTH = Decimal("0.01")
_ZERO = Decimal(0)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)", re.ASCII)
_SCHEME_TYPES = ("letter_grade", "gpa_scale")
_PASS = ("pass", "complete")
_FAIL = ("fail", "incomplete")


@record()
class Grade:
    """What a text or a score comes to."""

    score: Decimal
    grade: str


def from_text(
    text: str,
    grading_type: str,
    points_possible: Decimal | None,
    scheme: Scheme | None,
    *,
    prefer_points: bool = False,
) -> Grade | None:
    """Grade and score of a grade text; None if it yields no score.

    ``prefer_points``: a number is a number of points even where the scheme has a band of that name.
    """
    if not text.strip() or grading_type == "not_graded":
        return None
    bands = scheme or grading_scheme.DEFAULT
    score = _interpreted(text, grading_type, points_possible or _ZERO, bands, prefer_points)
    if grading_type == "pass_fail":
        # Unreadable text is taken for 0 before it is compared; a readable number must be full points or 0.
        score = _ZERO if score is None else score
        if score not in (_ZERO, points_possible):
            return None
    return None if score is None else _graded(score, grading_type, points_possible or _ZERO, bands, text)


def from_score(
    score: Decimal, grading_type: str, points_possible: Decimal | None, scheme: Scheme | None
) -> Grade | None:
    """Grade and score of a number of points, which Canvas takes on every type but not_graded as it is."""
    if grading_type == "not_graded":
        return None
    return _graded(score, grading_type, points_possible or _ZERO, scheme or grading_scheme.DEFAULT, None)


def number_text(number: Decimal) -> str:
    """Plain decimal text without trailing zeros: 85.50 is 85.5, 7.0 is 7, -0.0 is 0."""
    whole = int(number)
    return str(whole) if whole == number else format(number, "f").rstrip("0")


def _interpreted(text: str, grading_type: str, points: Decimal, bands: Scheme, prefer_points: bool) -> Decimal | None:
    if text.endswith("%") and _NUMBER.fullmatch(text[:-1]):
        return _share(points, Decimal(text[:-1]))
    # A scheme may name its bands by numbers: they come before points, and points before pass and fail.
    by_name = grading_scheme.percent_of(bands, text) if grading_type in _SCHEME_TYPES else None
    if _NUMBER.fullmatch(text):
        return Decimal(text) if by_name is None or prefer_points else _share(points, by_name)
    if text in _PASS:
        return points
    if text in _FAIL:
        return _ZERO
    return None if by_name is None else _share(points, by_name)


def _share(points: Decimal, percent: Decimal) -> Decimal:
    return _WIDE.multiply(points, percent).scaleb(-2, _WIDE)


def _graded(score: Decimal, grading_type: str, points: Decimal, bands: Scheme, given: str | None) -> Grade | None:
    """The score in 15 significant digits with its text; None beyond what a score or a grade may be."""
    if score.copy_abs() > SCORE_MAX:
        return None
    kept = _ROUNDED.plus(score) or _ZERO
    grade = _text(kept, grading_type, points, bands, given)
    return Grade(kept, grade) if len(grade) <= GRADE_CHARACTERS_MAX else None


def _text(score: Decimal, grading_type: str, points: Decimal, bands: Scheme, given: str | None) -> str:
    """The normalised grade text of a score; ``given``: the text it came from, if any."""
    if grading_type == "points":
        return number_text(score)
    if grading_type == "percent":
        return number_text(_percent(score, points) if points else score) + "%"
    if grading_type == "pass_fail":
        passed = score > 0 if points else given in _PASS
        return "complete" if passed else "incomplete"
    if points:
        return grading_scheme.name_of(bands, score, points)
    # Worth nothing: any name fits, so the one that was given stands; a bare score is taken for a percentage.
    named = None if given is None else grading_scheme.own_case(bands, given)
    return grading_scheme.name_of(bands, score, Decimal(100)) if named is None else named


def _percent(score: Decimal, points: Decimal) -> Decimal:
    share = _WIDE.divide(score, points).scaleb(2, _WIDE)
    return share.quantize(_HUNDREDTH, ROUND_HALF_UP, _WIDE)
