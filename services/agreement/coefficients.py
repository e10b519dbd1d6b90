"""Chance-corrected agreement, by libraries: weighted kappa (PyCM) and Krippendorff's alpha (krippendorff)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import krippendorff
import numpy
from pycm import ConfusionMatrix

from schemas.agreement import IntraclassReason, Reason
from services.agreement.scale import MeasurementLevel

# What a library may hold at once: alpha's is a cube of students and values, three times, in numbers of 8 bytes.
KAPPA_CELLS_MAX = 250_000
ALPHA_CELLS_MAX = 4_000_000

REASON_TEXTS: Mapping[Reason | IntraclassReason, str] = {
    "no_shared_works": "no work was marked by two graders",
    "one_work": "one work alone tells nothing of spread or chance",
    "nothing_decided": "no grade was chosen for a work that this grader marked",
    "no_variance": "all marks are the same, which could not but agree",
    "no_categories": "the assignment is worth no points",
    "no_tolerance": "the assignment is worth no points: name a tolerance",
    "too_large": "too many works, graders or different marks to compare",
    "few_works": "fewer than three works were marked by all these graders",
    "no_measurement": "complete and incomplete are no measurements",
}
"""In words, after "none: "."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number and over how many things it was taken; None with the reason where there is none to tell."""

    value: float | None
    count: int
    reason: Reason | IntraclassReason | None = None


def weighted_kappa(first: Sequence[int], second: Sequence[int], categories: int) -> Statistic:
    """Cohen's kappa of two graders with quadratic weights (Cohen 1968); both lists are in the order of the works."""
    if not first:
        return Statistic(None, 0, "no_shared_works")
    if len(first) == 1:
        return Statistic(None, 1, "one_work")
    if len({*first, *second}) == 1:
        # All chance: whatever two constant graders say, they could not but agree.
        return Statistic(None, len(first), "no_variance")
    if categories**2 > KAPPA_CELLS_MAX:
        return Statistic(None, len(first), "too_large")
    pair_counts = Counter(zip(first, second, strict=True))
    # A whole matrix, because categories that nobody used keep the others apart.
    category_numbers = {str(number): number for number in range(categories)}
    matrix = ConfusionMatrix(
        matrix={
            i: {j: pair_counts[category_numbers[i], category_numbers[j]] for j in category_numbers}
            for i in category_numbers
        }
    )
    value = matrix.weighted_kappa(
        {i: {j: (category_numbers[i] - category_numbers[j]) ** 2 for j in category_numbers} for i in category_numbers}
    )
    return Statistic(float(value), len(first))


def krippendorff_alpha(rating_rows: Sequence[Sequence[float]], level: MeasurementLevel) -> Statistic:
    """Krippendorff's alpha over works with two or more values each."""
    count = len(rating_rows)
    if not rating_rows:
        return Statistic(None, 0, "no_shared_works")
    if count == 1:
        return Statistic(None, 1, "one_work")
    distinct_values = len({value for row in rating_rows for value in row})
    if distinct_values == 1:
        return Statistic(None, count, "no_variance")
    most_ratings = max(map(len, rating_rows))
    if len(rating_rows) * distinct_values * max(distinct_values, most_ratings) > ALPHA_CELLS_MAX:
        return Statistic(None, count, "too_large")
    table = numpy.array([[*row, *[nan] * (most_ratings - len(row))] for row in rating_rows], dtype=float)
    return Statistic(float(krippendorff.alpha(reliability_data=table.T, level_of_measurement=level)), count)
