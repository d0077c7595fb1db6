"""How wide residuals are on rows a fit did not see: their scale over sizes, and quantiles by how well a class is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm as normal
from scipy.stats import t as student

from ..calibration.model import Fitted, Spread
from ..calibration.samples import Family
from . import solve
from .solve import Data
from .train import evaluate

FLOOR = 2e-3  # residuals below this are rounding of the measurement
LEAST = 50  # rows from which a class gets quantiles of its own
SIGNED = 4  # units from which residuals can tell on which side the next one is likely to fall
INTERVAL = (0.1, 0.9)
# How much wider a stranger's interval is than a relative's where every device left out had relatives. With whole architectures
# left out instead, 80 % of |log residual| lay within 0.36-0.46 against 0.23 (kimi_delta_attention), 0.23-0.53 against 0.09
# (mla_prefill), 0.23-0.65 against 0.06 (mamba2), 0.49-0.85 against 0.09 (module_msa_decode).
FARTHER = 3.0


@dataclass(frozen=True)
class Left:
    """Rows left out: their keys and coordinates, log(measured / predicted), and group."""

    data: Data
    residual: np.ndarray
    group: np.ndarray


def spread_of(family: Family, left: Mapping[str, Left]) -> Spread:
    """The spread of one part.

    Args:
        family: whose ``spread`` blocks the scale has.
        left: depth → rows left out; the scale is fitted to the first of known, relative, stranger that is there.
    """
    first = next(left[d] for d in ("known", "relative", "stranger") if d in left)
    scale = _scale(family, first)
    quantiles: dict[tuple[str, ...], tuple[float, float]] = {}
    shared: dict[str, float] = {}
    for depth, rows in left.items():
        z = rows.residual / np.exp(evaluate(scale, rows.data).get("total", np.zeros(rows.residual.size)))
        _add_quantiles(quantiles, shared, depth, rows, z)
    if ("stranger",) not in quantiles and ("relative",) in quantiles:
        low, high = quantiles["relative",]
        quantiles["stranger",] = (low * FARTHER, high * FARTHER)
        shared["stranger"] = shared["relative"]
    return Spread(scale, quantiles, shared)


def _scale(family: Family, rows: Left) -> tuple[Fitted, ...]:
    """Log of the typical |residual|, block after block."""
    data = rows.data
    y = np.log(np.abs(rows.residual) + FLOOR)
    scale: tuple[Fitted, ...] = ()
    for block in family.spread:
        found = solve.linear((block,), data, y, rounds=1)
        y = y - evaluate(found, data)["total"]
        scale = (*scale, *found)
    return scale


def _add_quantiles(
    quantiles: dict[tuple[str, ...], tuple[float, float]],
    shared: dict[str, float],
    depth: str,
    rows: Left,
    z: np.ndarray,
) -> None:
    """Quantiles of z over all rows of a depth (each device × framework counts alike), and by class where known.

    What is left out together errs together: the next group (or device) is a draw from as many as there are, so that few of
    them widen the interval by Student's t over the normal quantile.
    """
    data = rows.data
    unit = rows.group if depth == "known" else data.keys["device"]
    for fields in ((), ("device", "framework"), ("device", "framework", "kernel")):
        classes, inverse = data.classes(fields)
        # A shape group counts once, however many rows it has: coverage is judged by groups.
        _, joint = np.unique(rows.group * np.int64(len(classes)) + inverse, return_inverse=True)
        weight = 1.0 / np.bincount(joint)[joint]
        if not fields:
            _, kind = data.classes(("device", "framework"))
            weight = weight / np.bincount(kind, weights=weight)[kind]
        for number, cls in enumerate(classes):
            own = np.flatnonzero(inverse == number)
            if not fields or (depth == "known" and own.size >= LEAST):
                units = np.unique(unit[own]).size
                low, high = weighted_quantiles(z[own], weight[own])
                if units < SIGNED:
                    low, high = -max(-low, high), max(-low, high)
                quantiles[(depth, *cls)] = (low * few(units), high * few(units))
    classes, inverse = data.classes(("device", "framework"))
    means = np.bincount(inverse, weights=z) / np.bincount(inverse)
    shared[depth] = float(np.clip(np.var(means) / max(float(np.var(z)), 1e-12), 0.0, 1.0))


def few(units: int) -> float:
    """How much wider an interval from this many independent units is than one from many."""
    return float(student.ppf(INTERVAL[1], max(units - 1, 1)) / normal.ppf(INTERVAL[1]))


def weighted_quantiles(z: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """The central 80 % of z; the ends never cross 0."""
    order = np.argsort(z, kind="stable")
    total = np.cumsum(weight[order])
    low, high = (z[order][min(int(np.searchsorted(total, q * total[-1])), z.size - 1)] for q in INTERVAL)
    return min(float(low), -1e-3), max(float(high), 1e-3)
