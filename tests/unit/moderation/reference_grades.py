"""Canvas's conversion of grades and its late policy, implemented a second time in exact fractions.

Nothing is shared with the rules. Canvas: app/models/abstract_assignment.rb (interpret_grade, score_to_grade),
app/models/grading_standard.rb, app/models/late_policy.rb, app/models/submission.rb (score_late_or_none).
"""

import re
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

Bands = list[tuple[str, Fraction]]
Graded = tuple[Fraction, str]

LETTERS = ("A", "A-", "B+", "B", "B-", "C+", "C", "C-", "D+", "D", "D-", "F")
LETTER_PERCENTS = (94, 90, 87, 84, 80, 77, 74, 70, 67, 64, 61, 0)
DEFAULT_BANDS: Bands = [(name, Fraction(percent, 100)) for name, percent in zip(LETTERS, LETTER_PERCENTS, strict=True)]
NUMBER = re.compile(r"[+-]?\d*\.?\d+", re.ASCII)
UNSIGNED_NUMBER = re.compile(r"\d*\.?\d+", re.ASCII)
SCHEME_TYPES = ("letter_grade", "gpa_scale")
WITH_DEDUCTION = ("points", "percent", *SCHEME_TYPES)
NO_POLICY = {
    "late_submission_deduction_enabled": False,
    "late_submission_deduction": Decimal(0),
    "late_submission_interval": "day",
    "late_submission_minimum_percent_enabled": False,
    "late_submission_minimum_percent": Decimal(0),
}


def exact(number: Any) -> Fraction | None:
    """Return the fraction that the digits of a decimal or a JSON number denote."""
    return None if number is None else Fraction(str(number))


def hundredths(number: Fraction) -> Fraction:
    """Round to two decimals, halves away from zero."""
    rounded = Fraction(floor(abs(number) * 100 + Fraction(1, 2)), 100)
    return rounded if number >= 0 else -rounded


def plain(number: Fraction) -> str:
    """Format a number without trailing zeros."""
    text = format(Decimal(number.numerator) / number.denominator, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass
class GradingRules:
    """The settings of a grade: points, grading type, and the bands in force, highest first."""

    points: Fraction | None = Fraction(10)
    type: str = "points"
    bands: Bands = field(default_factory=lambda: DEFAULT_BANDS)

    @property
    def worth(self) -> Fraction:
        return self.points or Fraction(0)

    def from_text(self, text: str, prefer_points: bool) -> Graded | None:
        """Return score and normalised text of an entered text; None if it has no score."""
        if self.type == "not_graded" or not text.strip():
            return None
        score = self._interpret(text, prefer_points)
        if self.type == "pass_fail":
            score = score or Fraction(0)
            if score not in (0, self.points):
                return None
        return None if score is None else (score, self.text_of(score, text))

    def from_score(self, score: Fraction) -> Graded | None:
        return None if self.type == "not_graded" else (score, self.text_of(score, None))

    def made_again(self, score: Fraction, text: str | None) -> Graded:
        """Return a saved grade after a change of the settings: a pass_fail word is kept, other texts are derived."""
        if self.type != "pass_fail":
            return score, self.text_of(score, text)
        if text in ("complete", "incomplete"):
            return (self.worth if text == "complete" else Fraction(0)), text
        return score, "complete" if score > 0 else "incomplete"

    def text_of(self, score: Fraction, entered: str | None) -> str:
        if self.type in ("points", "not_graded"):
            return plain(score)
        if self.type == "percent":
            return plain(hundredths(score / self.points * 100) if self.points else score) + "%"
        if self.type == "pass_fail":
            passed = score > 0 if self.points else entered in ("pass", "complete")
            return "complete" if passed else "incomplete"
        named = None if self.points or entered is None else self._band(entered)
        if named is not None:
            return self.bands[named][0]
        reached = max(score, Fraction(0)) / (self.points or 100)
        return next((name for name, bound in self.bands if bound <= reached), self.bands[-1][0])

    def _interpret(self, text: str, prefer_points: bool) -> Fraction | None:
        if text.endswith("%") and NUMBER.fullmatch(text[:-1]):
            return self.worth * Fraction(text[:-1]) / 100
        band = self._band_percent(text) if self.type in SCHEME_TYPES else None
        if NUMBER.fullmatch(text):
            return Fraction(text) if band is None or prefer_points else self.worth * band / 100
        if text in ("pass", "complete", "fail", "incomplete"):
            return self.worth if text in ("pass", "complete") else Fraction(0)
        return None if band is None else self.worth * band / 100

    def _band(self, text: str) -> int | None:
        for index, (name, _) in enumerate(self.bands):
            if UNSIGNED_NUMBER.fullmatch(text):
                if UNSIGNED_NUMBER.fullmatch(name) and Fraction(name) == Fraction(text):
                    return index
            elif name.lower() == text.lower():
                return index
        return None

    def _band_percent(self, text: str) -> Fraction | None:
        index = self._band(text)
        if not index:
            return None if index is None else Fraction(100)
        above, own = self.bands[index - 1][1] * 100, self.bands[index][1] * 100
        return above - (1 if above - own >= 1 else Fraction(1, 10))

    def deduction(self, policy: dict[str, Any] | None, score: Fraction, seconds_late: int) -> Fraction:
        """Return the points that the policy deducts from the score of a late submission."""
        if policy is None or not policy["late_submission_deduction_enabled"] or self.type not in WITH_DEDUCTION:
            return Fraction(0)
        if not self.points or seconds_late <= 0:
            return Fraction(0)
        interval = 3_600 if policy["late_submission_interval"] == "hour" else 86_400
        taken = Fraction(policy["late_submission_deduction"]) * ceil(seconds_late / interval)
        # Canvas divides in binary doubles; with a minimum percentage it continues in decimals, without one in doubles.
        achieved = max(float(score) * 100.0 / float(self.points), 0.0)
        if not policy["late_submission_minimum_percent_enabled"]:
            all_of_it = Fraction(repr(float(self.points) * achieved / 100))
            return hundredths(self.points * taken / 100 if taken <= Fraction(repr(achieved)) else all_of_it)
        most = max(Fraction(repr(achieved)) - Fraction(policy["late_submission_minimum_percent"]), Fraction(0))
        return hundredths(self.points * min(taken, most) / 100)
