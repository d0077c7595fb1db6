"""Small things that steps laid over several ranks share: choosing per point, dividing by nothing, adding costs up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._foundation.arrays import Value, maximum
from ...costs.cost import Cost


def costs_of(blocks: Sequence[Any], stretch: Value | None = None) -> tuple[tuple[Cost, Value], ...]:
    """Every cost once with how many kernels of the step have it; exposed ones only, stretched, where a factor is given."""
    found: dict[int, tuple[Cost, Value]] = {}
    for _, phase, kernels in blocks:
        for k in kernels:
            times = k.count
            if stretch is not None:
                if k.exposed is not None:
                    times = k.exposed / some(k.cost.time)
                elif phase != "optimizer":
                    times = times * stretch
            known = found.get(id(k.cost))
            found[id(k.cost)] = (k.cost, times if known is None else known[1] + times)
    return tuple(found.values())


def chosen(values: Sequence[Value], at: np.ndarray) -> Value:
    """Of several values the one at each point's index."""
    if np.ndim(at) == 0:
        value = values[int(at)]
        return value if np.ndim(value) else float(value)
    spread = np.stack([np.broadcast_to(np.asarray(v, dtype=float), at.shape) for v in values])
    return np.take_along_axis(spread, at[None], axis=0)[0]


def some(value: Value) -> Value:
    """A divisor: the value, or a tiny number where it is 0 (what it divides is 0 there too)."""
    return maximum(value, 1e-30)


def plain(value: Any) -> Value:
    """A 0-d array as a float."""
    array = np.asarray(value)
    return array if array.ndim else float(array)
