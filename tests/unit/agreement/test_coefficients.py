"""Kappa and alpha give the values that their textbooks print."""

from typing import Literal

import pytest

from services.agreement.coefficients import ALPHA_CELLS_MAX, Statistic, krippendorff_alpha, weighted_kappa
from services.agreement.scale import MeasurementLevel

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": four observers of twelve units; 0 is missing.
OBSERVERS = ("123321412000", "123322412503", "033323422510", "123324412510")
# R package irr, data set anxiety: raters 1 and 2 of twenty subjects on a scale from 1 to 6.
ANXIETY = ("33345523522615221243", "36462424332333221334")


def test_alpha_reproduces_the_krippendorff_example_at_each_level() -> None:
    works = [[float(mark) for mark in unit if mark != "0"] for unit in zip(*OBSERVERS, strict=True)]
    shared = [work for work in works if len(work) > 1]
    printed: dict[MeasurementLevel | Literal["ratio"], float] = {
        "nominal": 0.743,
        "ordinal": 0.815,
        "interval": 0.849,
        "ratio": 0.797,
    }

    found = {level: krippendorff_alpha(shared, level).value for level in printed}

    assert found == pytest.approx(printed, abs=0.0005)


def test_alpha_reproduces_the_krippendorff_examples_of_two_observers() -> None:
    # Krippendorff 2011, sections A and B: two observers of ten units with two values, and of twelve with five.
    meg_and_owen = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    ben_and_gerry = ["aabbdcccedda", "babbbccceddd"]

    binary = krippendorff_alpha([[float(a), float(b)] for a, b in zip(*meg_and_owen, strict=True)], "nominal")
    letters = krippendorff_alpha(
        [[float(ord(a)), float(ord(b))] for a, b in zip(*ben_and_gerry, strict=True)], "nominal"
    )

    assert binary.value == pytest.approx(0.095, abs=0.0005)
    assert letters.value == pytest.approx(0.692, abs=0.0005)


def test_quadratic_kappa_reproduces_the_irr_manual() -> None:
    first, second = [[int(mark) - 1 for mark in rater] for rater in ANXIETY]

    kappa = weighted_kappa(first, second, 6)

    assert kappa.count == 20
    assert kappa.value == pytest.approx(0.297, abs=0.0005)


def test_weights_do_not_affect_kappa_of_two_categories() -> None:
    # Two readers of fifty proposals: both yes 20, both no 15, and 5 and 10 apart. Observed 0.7, by chance 0.5.
    answers = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    first, second = [list(reader) for reader in zip(*answers, strict=True)]

    assert weighted_kappa(first, second, 2).value == pytest.approx(0.4)


def test_kappa_includes_unused_categories() -> None:
    # The band between them is unused, but they are still two bands apart, not one.
    near, far = weighted_kappa([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], 3), weighted_kappa([0, 0, 2, 2, 3], [0, 2, 2, 2, 3], 4)

    assert near.value is not None
    assert far.value is not None
    assert far.value < near.value


def test_missing_coefficients_have_a_reason() -> None:
    assert weighted_kappa([], [], 5) == Statistic(None, 0, "no_shared_works")
    assert weighted_kappa([3], [4], 5) == Statistic(None, 1, "one_work")
    assert weighted_kappa([3, 3], [3, 3], 5) == Statistic(None, 2, "no_variance")
    assert weighted_kappa([3, 3], [4, 4], 5) == Statistic(0.0, 2)
    assert weighted_kappa([0, 1], [1, 1], 10_000) == Statistic(None, 2, "too_large")
    assert krippendorff_alpha([], "interval") == Statistic(None, 0, "no_shared_works")
    assert krippendorff_alpha([[7, 8]], "interval") == Statistic(None, 1, "one_work")
    assert krippendorff_alpha([[7, 7], [7, 7, 7]], "interval") == Statistic(None, 2, "no_variance")
    many = [[float(score), float(score + 1)] for score in range(round(ALPHA_CELLS_MAX ** (1 / 3)))]
    assert krippendorff_alpha(many, "interval") == Statistic(None, len(many), "too_large")
    assert krippendorff_alpha(many[:50], "interval").value == pytest.approx(1, abs=0.01)
