"""student: Student's t distribution (1908), with the standard library alone."""

from __future__ import annotations

from math import exp, inf, lgamma, log, log1p

_STEPS = 400  # of the continued fraction, at most
_TINY = 1e-300
_MANY = 1e7  # degrees of freedom from which the fraction loses digits and nothing is gained by it


def two_sided(t: float, freedom: float) -> float:
    """How often |T| is at least |t| for T with so many degrees of freedom: the p-value of t."""
    if t == 0:
        return 1.0
    if abs(t) == inf:
        return 0.0
    n = min(freedom, _MANY)
    return _incomplete_beta(n / 2, 0.5, n / (n + t * t), t * t / (n + t * t))


def quantile(probability: float, freedom: float) -> float:
    """The t below which T lies with the given probability, above 0 and below 1."""
    if not 0 < probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, not at {probability}")
    tail = 2 * min(probability, 1 - probability)
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > tail:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if two_sided(middle, freedom) > tail else (low, middle)
    return high if probability > 0.5 else -high


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function at x = 1 - rest, by the continued fraction of
    Abramowitz & Stegun 26.5.8, evaluated as Lentz 1976 does."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # where it converges slowly its mirror image does not
        return 1.0 - _incomplete_beta(b, a, rest, x)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    front = exp(scale + a * (log1p(-rest) if rest < 0.5 else log(x)) + b * log(rest)) / a
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > _TINY else _TINY)
    found = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = found
        for term in (even, odd):
            d, c = 1 + term * d, 1 + term / c
            d, c = 1 / (d if abs(d) > _TINY else _TINY), c if abs(c) > _TINY else _TINY
            found *= c * d
        if abs(found - before) <= 1e-15 * abs(found):
            break
    return front * found


def smallest_seen(
    error: float, freedom: float, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The true value that an estimate with this standard error is told from zero with the given
    power, by an interval of the given confidence."""
    reach = quantile(0.5 + confidence / 2, freedom) + quantile(power, freedom)
    return reach * error
