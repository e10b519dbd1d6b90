"""Intraclass correlation gives the values that its textbooks print, and is absent where there is none to tell."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from services.agreement.coefficients import Statistic
from services.agreement.intraclass import IntraclassCorrelation, compute_icc

# Shrout and Fleiss 1979, table 2: four judges of six targets. Table 4 prints ICC(2,1) as .29; the interval is what the
# manual of R's package psych prints for the same data.
JUDGES = ((9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7))


def icc_of_scores(works: Sequence[Sequence[float]]) -> IntraclassCorrelation:
    return compute_icc([[Decimal(str(score)) for score in work] for work in works])


def test_icc_reproduces_the_shrout_and_fleiss_example() -> None:
    icc = icc_of_scores(JUDGES)

    assert icc.statistic.count == 6
    assert icc.statistic.value == pytest.approx(0.29, abs=0.005)
    assert icc.interval == pytest.approx((0.019, 0.761), abs=0.0005)


def test_constant_grader_bias_lowers_the_icc() -> None:
    # Mean squares: between works 2, between graders 24, residual 0: 2 / (2 + 2 * 24 / 3).
    generous, alike = icc_of_scores([(1, 5), (2, 6), (3, 7)]), icc_of_scores([(1, 1), (2, 2), (3, 3)])

    assert (generous.statistic.value, alike.statistic.value) == pytest.approx((2 / 18, 1))
    assert generous.interval is alike.interval is None


def test_contradicting_graders_have_a_negative_icc() -> None:
    value = icc_of_scores([(1, 3), (2, 2), (3, 1), (1, 3)]).statistic.value
    assert value is not None
    assert value < 0


def test_missing_icc_has_a_reason() -> None:
    assert icc_of_scores([]) == IntraclassCorrelation(Statistic(None, 0, "few_works"))
    assert icc_of_scores([(1, 2), (3, 4)]) == IntraclassCorrelation(Statistic(None, 2, "few_works"))
    assert icc_of_scores([(7, 7), (7, 7), (7, 7)]) == IntraclassCorrelation(Statistic(None, 3, "no_variance"))
    assert icc_of_scores([(5, 7), (5, 7), (5, 7)]) == IntraclassCorrelation(Statistic(0, 3))
