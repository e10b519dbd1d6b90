"""Quantiles of the F distribution, by the incomplete beta function.

Only the confidence interval of an intraclass correlation needs it; SciPy, which has it, would take two fifths of the
image. The continued fraction is that of Press et al., Numerical Recipes, section 6.4.
"""

from math import exp, lgamma, log, log1p

_TINY = 1e-300
"""Replaces a zero denominator in Lentz's method."""
_PRECISION = 1e-15
_TERMS_MAX = 100_000
_HALVINGS = 200
"""More than the bits of a double between any two of the bounds."""


def f_quantile(numerator_degrees: float, denominator_degrees: float, probability: float) -> float:
    """Return the value that an F-distributed variable does not exceed with this probability (0 to 1, exclusive)."""
    a, b = numerator_degrees / 2, denominator_degrees / 2
    # In terms of odds t = x / (1 - x), a quantile near 1 loses no digits.
    low, high = 0.0, 1.0
    while _regularized_incomplete_beta(a, b, high) < probability:
        low, high = high, high * 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _regularized_incomplete_beta(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return high * denominator_degrees / numerator_degrees


def _regularized_incomplete_beta(a: float, b: float, odds: float) -> float:
    """Return I_x(a, b) for x = odds / (1 + odds)."""
    if odds == 0:
        return 0
    x = odds / (1 + odds)
    if x > (a + 1) / (a + b + 2):
        return 1 - _regularized_incomplete_beta(b, a, 1 / odds)
    log_power = a * (log(odds) - log1p(odds)) - b * log1p(odds)
    return exp(lgamma(a + b) - lgamma(a) - lgamma(b) + log_power) * _continued_fraction(a, b, x) / a


def _continued_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the fraction by Lentz's method, in about the square root of the larger parameter steps."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS_MAX):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + term * d)
            c = _nonzero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _nonzero(number: float) -> float:
    return number if abs(number) > _TINY else _TINY
