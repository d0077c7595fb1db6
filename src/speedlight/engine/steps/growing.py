"""Decode steps over a growing context, as an integral (DESIGN decision 7).

Σ over i < n of t(c + i) is n times the mean of t over [c − ½, c + n − ½] for every t that is linear in between (the midpoint
rule of n unit intervals). The mean is taken by Gauss–Legendre quadrature with five nodes, exact for polynomials of degree 9;
the error stated is the difference to the embedded three-node rule on the outer and middle nodes.
"""

from __future__ import annotations

import math

import numpy as np

from ..._foundation.arrays import Value, maximum

# Gauss–Legendre with five nodes in closed form (importing numpy.polynomial for it costs a cold start ten milliseconds).
_NEAR, _FAR = (math.sqrt(5 + sign * 2 * math.sqrt(10 / 7)) / 3 for sign in (-1, 1))
_WEIGHT_NEAR, _WEIGHT_FAR = ((322 + sign * 13 * math.sqrt(70)) / 900 for sign in (1, -1))
POINTS = np.array([-_FAR, -_NEAR, 0.0, _NEAR, _FAR])
WEIGHTS = np.array([_WEIGHT_FAR, _WEIGHT_NEAR, 128 / 225, _WEIGHT_NEAR, _WEIGHT_FAR])
# The interpolatory rule on nodes −x, 0, x: exact for quadratics when the outer weights are 1 / (3 x²).
_OUTER = 1 / (3 * POINTS[-1] ** 2)
EMBEDDED = np.array([_OUTER, 0.0, 2 - 2 * _OUTER, 0.0, _OUTER])


def contexts(first: Value, steps: Value, ndim: int) -> tuple[Value, np.ndarray]:
    """Contexts to evaluate at, on a new leading axis before ``ndim`` others, and each one's share of the steps."""
    column = (len(POINTS),) + (1,) * ndim
    places = ((POINTS + 1) / 2).reshape(column)
    return maximum(first - 0.5 + places * steps, 0.0), (WEIGHTS / 2).reshape(column)


def over_nodes(value: Value, weight: np.ndarray) -> Value:
    """Σ weight · value over the leading axis; a value that does not depend on the context is the same at every node."""
    summed = np.sum(value * weight, axis=0)
    return summed if np.ndim(summed) else float(summed)


def relative_error(value: Value, ndim: int) -> float:
    """Largest relative difference of the two rules."""
    column = (len(POINTS),) + (1,) * ndim
    fine = np.sum(value * (WEIGHTS / 2).reshape(column), axis=0)
    coarse = np.sum(value * (EMBEDDED / 2).reshape(column), axis=0)
    return float(np.max(np.abs(fine - coarse) / fine))
