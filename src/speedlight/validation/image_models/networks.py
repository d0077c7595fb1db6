"""Is a row's network ours of that name? By what the benchmark printed of it, which checks a capture and predicts nothing.

Names stay while networks change between versions (GhostNetV3 before and after its branches are merged). Counters disagree about
attention and round small networks, parameters count heads that were not run; where both disagree, the network is another.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..._foundation.expr import compile_tape
from ...graph import stats
from ...graph.ir import Graph
from ...graph.statistics import complete

TOLERANCE = 0.02


@lru_cache(maxsize=8)
def amounts(graph: Graph) -> tuple[float, float, float]:
    """10^9 multiply-adds of one image, those without attention's, and millions of parameters."""
    found = [(op.flops("matmul") * op.count * block.count, op.kind == "attention") for block, op in graph.ops()]
    tape = compile_tape([flops for flops, _ in found])
    sizes = complete(graph, {**{k: v for k, v in graph.symbols.items() if v is not None}, "batch": 1})
    env = {**dict.fromkeys(tape.symbols, 1.0), **{k: float(v) for k, v in sizes.items()}}
    work = [float(value) / 2e9 for value in tape.run(env, [{"count": 1.0, "new": 1.0, "cached": 0.0}])]
    plain = sum(w for w, (_, attention) in zip(work, found, strict=True) if not attention)
    return sum(work), plain, stats.parameters(graph) / 1e6


def alike(ours: np.ndarray, gmacs: np.ndarray, params: np.ndarray) -> np.ndarray:
    """Whether each row's network is ours; true where the benchmark printed nothing.

    Args:
        ours: :func:`amounts`, a row each.
        gmacs, params: as printed; NaN for nothing.
    """
    with np.errstate(all="ignore"):
        work = np.minimum(np.abs(ours[:, 0] / gmacs - 1), np.abs(ours[:, 1] / gmacs - 1))
        other: np.ndarray = (work > TOLERANCE) & (np.abs(ours[:, 2] / params - 1) > TOLERANCE)
    return ~other


__all__ = ["alike", "amounts"]
