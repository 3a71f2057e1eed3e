"""power_law: how error falls with the number of examples, and what more of them would buy.

Shapes: P fits, N numbers of examples, G laws on a grid, Q quantiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import lgamma, log2

import numpy as np
from numpy.typing import NDArray

from shoestring.core.receipt import Interval

Floats = NDArray[np.float64]

CONFIDENCE = 0.9
METHOD = "power laws with and without a floor, weighted by how well they fit"
_FLOORS = np.linspace(0.0, 0.9, 19)  # of the error at the most examples: what data cannot buy
_EXPONENTS = np.linspace(0.02, 1.2, 40)
# How often examples may be repeated until seeing them again is worth little: not at all, to often.
# 15 is what Muennighoff et al. found for language models.
_REPEATS = np.array([0.0, 2.0, 5.0, 15.0, 50.0])
# Before the fits are seen: floors are as likely as none, exponents about what was published
# (0.07 to 0.35 of whole fields, Hestness et al. 2017; up to 1 where a set is nearly solved).
_USUAL_EXPONENT, _SPREAD = 0.4, 0.35
_PRIOR_FITS = 3.0  # how many fits the noise that is told beforehand counts as
# A law is a law up to a point: a standard deviation of its logarithm for each doubling beyond what
# was measured. Set after seeing halves of sign-digits and MNIST, whose errors flattened early.
MISFIT = 0.1
_FAR = 0.5  # fits on fewer examples count less, by the power of their share
_QUANTILES = (np.arange(60) + 0.5) / 60


@dataclass(frozen=True)
class Law:
    """Every power law that the fits allow, each with its weight: error(n) = floor + a w(n)^-b,
    where w is what n examples are `worth` to a fit that sees so many in all."""

    most: int  # examples of the largest share
    seen: float  # examples that each fit sees, again and again
    floors: Floats  # (G,) of the error at `most`
    exponents: Floats  # (G,)
    repeats: Floats  # (G,)
    weights: Floats  # (G,) sum 1
    centres: Floats  # (G,) log error at `most`
    spreads: Floats  # (G,) of one fit about the law, as a logarithm
    fits: float  # that decide the centre
    freedom: float  # of the t distribution

    @property
    def exponent(self) -> float:
        """Of the part of the error that falls, on the average of the laws."""
        return float(self.weights @ self.exponents)

    @property
    def floor(self) -> float:
        """The share of the present error that no amount of such data would remove."""
        return float(self.weights @ self.floors)

    def error(self, examples: float, confidence: float = CONFIDENCE) -> Interval:
        """The error of one fit on so many examples, and the interval that it falls into."""
        spreads_G = self.spreads * np.sqrt(1 + 1 / self.fits)
        return self._mixture(self.centres, spreads_G, examples, confidence)

    def expected(self, examples: float, confidence: float = CONFIDENCE) -> Interval:
        """The mean error of many fits on so many examples."""
        spreads_G = self.spreads / np.sqrt(self.fits)
        return self._mixture(self.centres, spreads_G, examples, confidence)

    def ratio(self, examples: float, confidence: float = CONFIDENCE) -> Interval:
        """The expected error there over the expected error at `most`: what the examples do,
        without the luck of single fits."""
        nothing_G = np.zeros_like(self.centres)
        return self._mixture(nothing_G, nothing_G, examples, confidence)

    def _mixture(
        self, centres_G: Floats, spreads_G: Floats, examples: float, confidence: float
    ) -> Interval:
        """Quantiles over all laws, each with its noise, carried on to so many examples."""
        beyond = MISFIT * max(0.0, log2(examples / self.most))
        spreads_G = np.sqrt(spreads_G**2 + beyond**2)
        t_Q = _t_quantiles(self.freedom)
        logs_GQ = (centres_G + _fall(self, examples))[:, None] + spreads_G[:, None] * t_Q
        weights_GQ = np.broadcast_to(self.weights[:, None] / len(t_Q), logs_GQ.shape)
        order = np.argsort(logs_GQ, axis=None)
        steps, ordered = np.cumsum(weights_GQ.ravel()[order]), logs_GQ.ravel()[order]
        outside = (1 - confidence) / 2
        low, value, high = (
            float(np.exp(ordered[min(len(ordered) - 1, int(np.searchsorted(steps, q)))]))
            for q in (outside, 0.5, 1 - outside)
        )
        return Interval(value, low, high, confidence, METHOD)


def _fall(law: Law, examples: float) -> Floats:
    """(G,) log of the error at so many examples over that at `most`."""
    more_GN = worth(np.array([examples]), law.seen, law.repeats)
    most_GN = worth(np.array([float(law.most)]), law.seen, law.repeats)
    return _log_shape(law.floors, law.exponents, more_GN / most_GN)[:, 0]


def worth(examples_N: Floats, seen: float, repeats_G: Floats) -> Floats:
    """(G, N) how many different examples would be worth what a fit learns from these, which it
    sees `seen` / n times: each repetition is worth less than the one before, by a scale of
    `repeats` (Muennighoff et al. 2023, "Scaling data-constrained language models", equation 5).
    Examples beyond `seen` are never looked at and worth nothing."""
    unique_N = np.minimum(examples_N, seen)
    again_N = seen / unique_N - 1
    scale_G = np.maximum(repeats_G, 1e-9)[:, None]
    return np.asarray(unique_N * (1 + scale_G * -np.expm1(-again_N / scale_G)))


def _log_shape(floors_G: Floats, exponents_G: Floats, shares_GN: Floats) -> Floats:
    """(G, N) log(u + (1 - u) s^-b)."""
    powers_GN = shares_GN ** -exponents_G[:, None]
    return np.asarray(np.log(floors_G[:, None] + (1 - floors_G[:, None]) * powers_GN))


def fitted(examples_P: Floats, errors_P: Floats, noise: float, seen: float | None = None) -> Law:
    """The laws of some fits, each on so many examples with so large an error (above 0), that saw
    `seen` examples in all their steps; None: so many that repeating them bought nothing more.
    `noise` is the standard deviation that one fit is thought to have, as a share of its error; the
    fits correct it. Raises ValueError for fits on fewer than two numbers of examples.

    Logarithms of errors are normal about the law; its height and the noise are integrated out, its
    floor and exponent summed over a grid (a posterior predictive distribution).
    """
    if len(set(examples_P.tolist())) < 2:
        raise ValueError("a law needs fits on at least two numbers of examples")
    most = float(examples_P.max())
    shares_P = examples_P / most
    scales = np.zeros(1) if seen is None else _REPEATS
    floors_G, exponents_G, repeats_G = (a.ravel() for a in np.meshgrid(_FLOORS, _EXPONENTS, scales))
    seen = np.inf if seen is None else seen
    worth_GP = worth(examples_P, seen, repeats_G) / worth(np.array([most]), seen, repeats_G)
    rest_GP = np.log(errors_P) - _log_shape(floors_G, exponents_G, worth_GP)
    weights_P = shares_P**_FAR
    fits = float(weights_P.sum())
    centres_G = rest_GP @ weights_P / fits
    squares_G = ((rest_GP - centres_G[:, None]) ** 2) @ weights_P
    freedom = _PRIOR_FITS + fits - 1
    scale_G = _PRIOR_FITS * noise**2 + squares_G
    prior_G = -((exponents_G - _USUAL_EXPONENT) ** 2) / (2 * _SPREAD**2)
    logs_G = prior_G - (freedom / 2) * np.log(scale_G)
    weights_G = np.exp(logs_G - logs_G.max())
    return Law(
        most=round(most),
        seen=seen,
        floors=floors_G,
        exponents=exponents_G,
        repeats=repeats_G,
        weights=np.asarray(weights_G / weights_G.sum()),
        centres=centres_G,
        spreads=np.sqrt(scale_G / freedom),
        fits=fits,
        freedom=freedom,
    )


def noise_of(errors: list[list[float]], graded: int, perfect: float) -> float:
    """The standard deviation of one fit's error as a share of it, from fits on equal numbers of
    examples; where there are none, half of what counting so many graded examples alone gives."""
    logs = [np.log(np.asarray(same)) for same in errors if len(same) > 1]
    spare = sum(len(same) - 1 for same in logs)
    shares = [max(float(np.mean(same)) / perfect, 0.5 / graded) for same in errors]
    counted = float(np.mean([(1 - min(s, 1.0)) / (s * graded) for s in shares]))
    before = max(0.5 * np.sqrt(counted), 0.01)
    if not spare:
        return float(before)
    squares = sum(float(((same - same.mean()) ** 2).sum()) for same in logs)
    return float(np.sqrt((before**2 + squares) / (1 + spare)))


@cache
def _t_quantiles(freedom: float) -> Floats:
    """(Q,) of Student's distribution, by summing its density: scipy is no dependency."""
    x = np.linspace(-40, 40, 16_001)
    log_scale = lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - 0.5 * np.log(freedom * np.pi)
    density = np.exp(log_scale - (freedom + 1) / 2 * np.log1p(x * x / freedom))
    steps = np.cumsum(density)
    return np.asarray(np.interp(_QUANTILES, steps / steps[-1], x))
