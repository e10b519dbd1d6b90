"""The intraclass correlation equals the values in its textbooks, and has a reason if it does not exist."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from services.agreement.coefficients import Statistic
from services.agreement.intraclass import IntraclassCorrelation, compute_icc, compute_mean_squares

# Shrout and Fleiss 1979, table 2: four judges of six targets.
JUDGES = ((9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7))


def icc_of_scores(works: Sequence[Sequence[float]]) -> IntraclassCorrelation:
    return compute_icc([[Decimal(str(score)) for score in work] for work in works])


def test_mean_squares_reproduce_the_six_shrout_and_fleiss_correlations() -> None:
    squares = compute_mean_squares([[Decimal(score) for score in target] for target in JUDGES])
    targets, judges, error = squares.works, squares.graders, squares.error
    within = (3 * judges + 15 * error) / 18

    # Table 3.
    assert (targets, judges, error, within) == pytest.approx((11.24, 32.49, 1.02, 6.26), abs=0.005)
    # Table 4, by the formulas of the text.
    assert {
        "ICC(1,1)": (targets - within) / (targets + 3 * within),
        "ICC(2,1)": (targets - error) / (targets + 3 * error + 4 * (judges - error) / 6),
        "ICC(3,1)": (targets - error) / (targets + 3 * error),
        "ICC(1,4)": (targets - within) / targets,
        "ICC(2,4)": (targets - error) / (targets + (judges - error) / 6),
        "ICC(3,4)": (targets - error) / targets,
    } == pytest.approx(
        {"ICC(1,1)": 0.17, "ICC(2,1)": 0.29, "ICC(3,1)": 0.71, "ICC(1,4)": 0.44, "ICC(2,4)": 0.62, "ICC(3,4)": 0.91},
        abs=0.005,
    )


def test_icc_and_interval_reproduce_the_shrout_and_fleiss_example() -> None:
    # Table 4 prints ICC(2,1) as .29; the manual of R's package psych prints the interval for the same data.
    icc = icc_of_scores(JUDGES)

    assert icc.statistic.count == 6
    assert icc.statistic.value == pytest.approx(0.29, abs=0.005)
    assert icc.interval == pytest.approx((0.019, 0.761), abs=0.0005)


def test_icc_reproduces_the_mcgraw_and_wong_example() -> None:
    # McGraw and Wong 1996: the consistency of (2, 4), (4, 6), (6, 8) is 1, the absolute agreement 0.67.
    assert icc_of_scores([(2, 4), (4, 6), (6, 8)]).statistic.value == pytest.approx(2 / 3)


def test_icc_and_interval_reproduce_the_irr_manual() -> None:
    # R package irr, three raters of twenty subjects: icc(anxiety, "twoway", "agreement").
    raters = ("33345523522615221243", "36462424332333221334", "21443216111233113322")

    icc = icc_of_scores([[int(mark) for mark in subject] for subject in zip(*raters, strict=True)])

    assert icc.statistic.value == pytest.approx(0.198, abs=0.0005)
    assert icc.interval == pytest.approx((-0.039, 0.494), abs=0.0005)


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
