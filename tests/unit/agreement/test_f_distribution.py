"""Quantiles of the F distribution equal published tables, and have the properties of all quantiles."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from services.agreement.f_distribution import f_quantile

degrees = some.floats(0.5, 30_000)


@pytest.mark.parametrize(
    ("numerator_degrees", "denominator_degrees", "probability", "published"),
    [
        # NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.3, upper critical values.
        (1, 1, 0.95, "161.448"),
        (1, 1, 0.99, "4052.181"),
        (5, 10, 0.95, "3.326"),
        (10, 20, 0.95, "2.348"),
        (20, 100, 0.99, "2.067"),
        (2, 30, 0.90, "2.489"),
        # With one and very many degrees of freedom, it is the square of the normal distribution's 1.959964.
        (1, 10_000_000, 0.95, "3.841"),
    ],
)
def test_quantiles_equal_published_tables(
    numerator_degrees: float, denominator_degrees: float, probability: float, published: str
) -> None:
    assert f"{f_quantile(numerator_degrees, denominator_degrees, probability):.3f}" == published


@pytest.mark.slow
@given(degrees, degrees, some.sampled_from([0.025, 0.3, 0.5, 0.9, 0.975]))
def test_reciprocal_of_a_quantile_is_the_opposite_quantile_with_degrees_exchanged(
    first: float, second: float, probability: float
) -> None:
    quantile, opposite = f_quantile(first, second, probability), f_quantile(second, first, 1 - probability)
    assert quantile * opposite == pytest.approx(1, rel=1e-8)
