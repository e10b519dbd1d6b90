"""Chance-corrected agreement: weighted kappa (by PyCM) and Krippendorff's alpha.

The libraries are imported where they are used: they take time and memory, and belong to an optional extra.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schemas.agreement import IntraclassReason, Reason
from services.agreement.scale import MeasurementLevel

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

# Limits of run time: kappa's matrices have a cell per pair of categories; alpha takes works times values squared.
KAPPA_CELLS_MAX = 250_000
ALPHA_CELLS_MAX = 4_000_000

REASON_TEXTS: Mapping[Reason | IntraclassReason, str] = {
    "no_shared_works": "no work was marked by two graders",
    "one_work": "one work alone shows neither spread nor chance",
    "nothing_decided": "no grade was chosen for a work that this grader marked",
    "no_variance": "all marks are the same, so that they cannot disagree",
    "no_categories": "the assignment is worth no points",
    "no_tolerance": "the assignment is worth no points: state a tolerance",
    "too_large": "too many works, graders or different marks to compare",
    "few_works": "fewer than three works were marked by all these graders",
    "no_measurement": "complete and incomplete are not measurements",
}
"""Explanations that follow "none: "."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic and the size of its sample; the value is None if there is a ``reason`` why it does not exist."""

    value: float | None
    count: int
    reason: Reason | IntraclassReason | None = None


def weighted_kappa(first: Sequence[int], second: Sequence[int], categories: int) -> Statistic:
    """Compute two graders' kappa with quadratic weights (Cohen 1968); both lists are in the order of the works."""
    if not first:
        return Statistic(None, 0, "no_shared_works")
    if len(first) == 1:
        return Statistic(None, 1, "one_work")
    if len({*first, *second}) == 1:
        # Two constant graders agree by definition, so their agreement is meaningless.
        return Statistic(None, len(first), "no_variance")
    if categories**2 > KAPPA_CELLS_MAX:
        return Statistic(None, len(first), "too_large")
    from pycm import ConfusionMatrix

    pair_counts = Counter(zip(first, second, strict=True))
    # The full matrix, because unused categories add to the distance between the others.
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


def krippendorff_alpha(rating_rows: Sequence[Sequence[float]], level: MeasurementLevel | Literal["ratio"]) -> Statistic:
    """Compute Krippendorff's alpha over works with two or more values each (Krippendorff 2011).

    Disagreement is the mean squared distance of two values. It is observed within works, where each pair of a work with
    m values has the weight 1 / (m - 1), and expected among all values of all works. Alpha is 1 - observed / expected.
    """
    count = len(rating_rows)
    if not rating_rows:
        return Statistic(None, 0, "no_shared_works")
    if count == 1:
        return Statistic(None, 1, "one_work")
    distinct_values = len({value for row in rating_rows for value in row})
    if distinct_values == 1:
        return Statistic(None, count, "no_variance")
    if count * distinct_values**2 > ALPHA_CELLS_MAX:
        return Statistic(None, count, "too_large")
    import numpy

    row_sizes = numpy.array([len(row) for row in rating_rows])
    values, columns = numpy.unique([float(value) for row in rating_rows for value in row], return_inverse=True)
    value_counts = numpy.zeros((count, distinct_values))
    numpy.add.at(value_counts, (numpy.repeat(numpy.arange(count), row_sizes), columns), 1)
    coincidences = (value_counts / (row_sizes - 1)[:, None]).T @ value_counts
    frequencies = value_counts.sum(axis=0)
    distances = _squared_distances(values, frequencies, level)
    observed = (coincidences * distances).sum()
    expected = frequencies @ distances @ frequencies / (frequencies.sum() - 1)
    return Statistic(float(1 - observed / expected), count)


def _squared_distances(
    values: "NDArray[float64]", frequencies: "NDArray[float64]", level: MeasurementLevel | Literal["ratio"]
) -> "NDArray[float64]":
    """Return the squared distance between every two of the ascending values."""
    import numpy

    if level == "nominal":
        return 1 - numpy.eye(len(values))
    if level == "ratio":
        sums = numpy.add.outer(values, values)
        return (numpy.subtract.outer(values, values) / numpy.where(sums == 0, 1, sums)) ** 2
    # Ordinal: the number of ratings between two values, including half of each value's own, is the distance between
    # their mean ranks.
    positions = values if level == "interval" else frequencies.cumsum() - frequencies / 2
    return numpy.subtract.outer(positions, positions) ** 2
