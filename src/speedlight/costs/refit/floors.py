"""Kernels of whole models that no fit may make faster than their resources.

What always comes together (a convolution and its norm) the models' times cannot tell apart, and a ridge alone splits it without regard
to what is possible: a norm at one and a half times the memory's bandwidth beside a convolution too slow for it. Models where the
two do not come together, as when a compiler merges the norm into its neighbour, are then priced wrongly. A floor adds to what the
fit makes small

    Σ share · max(0, least − log factor)²

over the kernels of a term, ``share`` being the term's part of a model's analytic time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

SEEN = 2e-3  # share of a model's time from which a kernel is looked at


@dataclass(frozen=True)
class Floor:
    """Kernels of one sort whose seconds of one term are not to be bent below a factor.

    Attributes:
        matrix: (kernels, unknowns of the sort), to the log of each kernel's factor.
        low, high: where those unknowns lie among all.
        least: log of the factor.
        weight: of each kernel.
    """

    matrix: sp.csr_matrix
    low: int
    high: int
    least: float
    weight: np.ndarray

    def cost(self, x: np.ndarray) -> float:
        return float(self.weight @ self._short(x) ** 2)

    def push(self, x: np.ndarray, normal: np.ndarray, slope: np.ndarray) -> None:
        """Add curvature and upward pull at ``x`` to the normal matrix and the right side, in place."""
        short = self._short(x)
        under = np.flatnonzero(short)
        matrix, weight = self.matrix[under], self.weight[under]
        own = slice(self.low, self.high)
        normal[own, own] += (matrix.T @ matrix.multiply(weight[:, None])).toarray()
        slope[own] += matrix.T @ (weight * short[under])

    def _short(self, x: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.maximum(self.least - self.matrix @ x[self.low : self.high], 0.0)
        return found


def floor(
    matrices: Sequence[sp.csr_matrix], bends: Sequence[bool], low: int, least: float, share: np.ndarray
) -> Floor | None:  # fmt: skip
    """The floor of one term; None where no kernel is long enough to tell.

    Args:
        matrices: of a sort's blocks, (kernels, unknowns); ``bends``: whether each block bends the term.
        low: the sort's first unknown.
        share: of each kernel's term in its model's time, times the model's weight.
    """
    some = np.flatnonzero(share >= SEEN)
    if not some.size:
        return None
    parts = [
        m[some] if bent else sp.csr_matrix((some.size, m.shape[1])) for m, bent in zip(matrices, bends, strict=True)
    ]
    joined = sp.hstack(parts, format="csr")
    return Floor(joined, low, low + joined.shape[1], least, share[some])
