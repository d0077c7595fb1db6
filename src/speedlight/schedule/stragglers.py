"""Waiting for the slowest, or for k of n: expected order statistics of times that vary.

A barrier of n ranks lasts as long as the slowest of them. For times of one distribution, independent from rank to rank,

    E[k-th of n] = ∫ t · n · C(n − 1, k − 1) · F(t)^(k−1) · (1 − F(t))^(n−k) dF(t)

in closed form where there is one. The distribution is stated with its spread (standard deviation over mean), never assumed; what
repeats n times within a step averages out before the barrier (its spread falls by √n), a slow device does not.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._foundation.arrays import Value
from .._foundation.errors import BadInput

DISTRIBUTIONS = ("normal", "gumbel", "exponential")

EULER = 0.5772156649015329

REACH, POINTS = 9.0, 4001  # the normal integral: ± 9 standard deviations (10^-19 beyond), Simpson's rule


def expected_longest(n: Value, mean: Value, spread: Value, distribution: str = "normal") -> Value:
    """Expected seconds of the slowest of n ranks.

    Args:
        n: ranks that wait for each other; 1 gives the mean.
        mean: seconds of one, on average.
        spread: standard deviation over mean.
        distribution: ``normal`` (sums of many small delays), ``gumbel`` (each the longest of many: E = mean + spread · √6/π · ln n,
            exact) or ``exponential`` (a delay that starts at mean · (1 − spread): mean · (1 + spread · (H_n − 1)), exact).

    Raises:
        BadInput: for another distribution, n below 1 or a negative spread.
    """
    return expected_of(n, n, mean, spread, distribution)


def expected_of(k: Value, n: Value, mean: Value, spread: Value, distribution: str = "normal") -> Value:
    """Expected seconds until k of n ranks are done: with backups, one waits for the fastest k (Chen et al., arXiv 1604.00981).

    Raises:
        BadInput: as :func:`expected_longest`; for k outside 1–n; for k < n of a Gumbel distribution (use ``normal``).
    """
    if distribution not in DISTRIBUTIONS:
        raise BadInput(f"distribution {distribution!r}", expected="one of " + ", ".join(DISTRIBUTIONS))
    if np.any(np.asarray(n) < 1) or np.any(np.asarray(k) < 1) or np.any(np.asarray(k) > np.asarray(n)):
        raise BadInput(f"{k} of {n} ranks", expected="1 ≤ k ≤ n")
    if np.any(np.asarray(spread) < 0):
        raise BadInput(f"a spread of {spread}", expected="standard deviation over mean, at least 0")
    scores = {"normal": _normal, "gumbel": _gumbel, "exponential": _exponential}[distribution](k, n)
    return mean * (1.0 + spread * scores)


def _normal(k: Value, n: Value) -> Value:
    """E[k-th of n] of a standard normal, in standard deviations."""
    ks, ns = np.broadcast_arrays(np.asarray(k, dtype=float), np.asarray(n, dtype=float))
    pairs, which = np.unique(np.stack([ks.ravel(), ns.ravel()]), axis=1, return_inverse=True)
    found = np.array([_normal_score(a, b) for a, b in pairs.T.tolist()])[which.reshape(-1)].reshape(ks.shape)
    return found if found.ndim else float(found)


@lru_cache(maxsize=4096)
def _normal_score(k: float, n: float) -> float:
    z, weight, below, above = _grid()
    ways = math.lgamma(n + 1) - math.lgamma(k) - math.lgamma(n - k + 1)
    return float(np.sum(weight * z * np.exp(ways + (k - 1) * below + (n - k) * above)))


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(z, Simpson's weight · density, log F, log (1 − F)) of a standard normal."""
    z = np.linspace(-REACH, REACH, POINTS)
    rule = np.full(POINTS, 2.0)
    rule[1::2] = 4.0
    rule[0] = rule[-1] = 1.0
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * rule * (z[1] - z[0]) / 3
    tail = np.array([math.log(0.5 * math.erfc(-x / math.sqrt(2))) for x in z.tolist()])
    return z, density, tail, tail[::-1]


def _gumbel(k: Value, n: Value) -> Value:
    """The longest of n Gumbel times is one again, β·ln n later; β = σ·√6/π."""
    if np.any(np.asarray(k) != np.asarray(n)):
        raise BadInput("k of n Gumbel times", expected="the longest of n", hint="normal and exponential have k of n")
    return math.sqrt(6) / math.pi * np.log(n) if isinstance(n, np.ndarray) else math.sqrt(6) / math.pi * math.log(n)


def _exponential(k: Value, n: Value) -> Value:
    """H_n − H_{n−k} mean delays, of which the mean has one already; standard deviation = mean delay."""
    return _harmonic(n) - _harmonic(np.asarray(n) - np.asarray(k)) - 1.0


def _harmonic(n: Value) -> Value:
    """H_n = ln n + γ + 1/2n − 1/12n² + 1/120n⁴ − 1/252n⁶, the last terms below 1e-16 from n = 60; summed below."""
    array = np.asarray(n, dtype=float)
    table = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, 61))])
    large = np.maximum(array, 60.0)
    series = np.log(large) + EULER + 1 / (2 * large) - 1 / (12 * large**2) + 1 / (120 * large**4) - 1 / (252 * large**6)
    found = np.where(array <= 60, table[np.clip(array, 0, 60).astype(int)], series)
    return found if found.ndim else float(found)
