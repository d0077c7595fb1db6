"""Kernels of measured points → the machine's own curves, and the errors of points they did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._foundation.errors import MissingDependency
from ...costs.calibration.model import Part, Spread
from ...costs.families.module_here import FAMILIES
from .points import Observed

FOLDS = 5
LEAST = 8  # points
INTERVAL = (0.1, 0.9)
WORTH = "fitting curves to the points of a machine"
Parts = dict[tuple[str, ...], Part]


@dataclass(frozen=True)
class Fitted:
    """What points say.

    Attributes:
        parts: curves by sort.
        before: log(measured / predicted) of each point by what ships, on the machine's measured rates.
        after: the same by curves that did not see the point, nor any other of its operator and sizes.
        interval: factors to the ends of the 80 % interval.
        folds: parts the points were left out in.
    """

    parts: Parts
    before: np.ndarray
    after: np.ndarray
    interval: tuple[float, float]
    folds: int


def fitted(observed: Observed, host: np.ndarray, stated: float, count: int = FOLDS) -> Fitted:
    """Fit the curves.

    Args:
        host: seconds of the host, of each point.
        stated: those of a launch as the stack states them: what points are expected to take without a calibration.
        count: folds.

    Raises:
        MissingDependency: without SciPy.
    """
    try:
        from ...costs.refit import whole
    except ImportError:
        raise MissingDependency("scipy", "fit", WORTH) from None
    seconds = np.array([p.median for p in observed.points])
    wholes = observed.wholes(host)
    bare = whole.seconds({sort: _bare(sort) for sort in wholes.kernels}, wholes) + stated * observed.launches
    label = folds(observed, count)
    after = np.full(seconds.size, np.nan)
    for fold in range(int(label.max()) + 1):
        out, rest = np.flatnonzero(label == fold), np.flatnonzero(label != fold)
        parts = whole.fit(FAMILIES, wholes.take(rest))
        said = whole.seconds({**{sort: _bare(sort) for sort in wholes.kernels}, **parts}, wholes.take(out))
        after[out] = np.log(seconds[out] / (said + host[out]))
    low, high = np.quantile(after, INTERVAL)
    ends = (float(np.exp(min(low, -5e-3))), float(np.exp(max(high, 5e-3))))
    return Fitted(whole.fit(FAMILIES, wholes), np.log(seconds / bare), after, ends, count)


def folds(observed: Observed, count: int = FOLDS) -> np.ndarray:
    """The fold of each point: what stands for the same operator and sizes in another number format shares it."""
    names = [p.op + repr(sorted((k, v) for k, v in p.sizes.items() if k != "format")) for p in observed.points]
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    order = np.random.default_rng(0).permutation(len(known)) % count
    return np.array([order[known[name]] for name in names])


def _bare(sort: tuple[str, ...]) -> Part:
    """What ships, without curves."""
    family = FAMILIES[sort]
    return Part(family.parallel, family.serial, family.power, (), Spread((), {}), frozenset(), frozenset())


__all__ = ["LEAST", "Fitted", "fitted", "folds"]
