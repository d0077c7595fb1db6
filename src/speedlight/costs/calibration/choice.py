"""Which kernel a stack runs: a small decision tree over coordinates for each (device, framework, version, format).

Users never say which kernel ran; the stack chose it by format, shape and device. Where one kernel always runs the tree is
a single leaf. Unknown devices take the tree of their architecture, else of the framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value

LEAF = -1


@dataclass(frozen=True)
class Tree:
    """Arrays of nodes: at node i go left when ``coordinate[feature[i]] <= threshold[i]``; leaves name a kernel."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    kernel: tuple[str, ...]


@dataclass(frozen=True)
class Choice:
    """Trees by class, with the coordinates they look at."""

    coords: tuple[str, ...]
    trees: Mapping[tuple[str, ...], Tree]

    def tree(self, key: Mapping[str, str]) -> Tree | None:
        framework, named = key.get("framework", ""), key.get("format", "")
        for cls in (
            (framework, key.get("version", ""), key.get("device", ""), named),
            (framework, key.get("version", ""), key.get("device", "")),
            (framework, key.get("device", "")),
            (framework, key.get("architecture", "")),
            (framework,),
        ):
            if cls in self.trees:
                return self.trees[cls]
        return None

    def kernels(self, key: Mapping[str, str], coords: Mapping[str, Value]) -> str | np.ndarray:
        """The kernel's name, or an array of names where coordinates are arrays and the choice depends on them."""
        tree = self.tree(key)
        if tree is None:
            return ""
        if len(tree.feature) == 1:
            return tree.kernel[0]
        columns = [coords[name] for name in self.coords]
        shape = np.broadcast_shapes(*(np.shape(c) for c in columns))
        if not shape:
            node = 0
            while tree.feature[node] != LEAF:
                below = columns[tree.feature[node]] <= tree.threshold[node]
                node = tree.left[node] if below else tree.right[node]
            return tree.kernel[node]
        stack = np.stack([np.broadcast_to(c, shape).ravel() for c in columns])
        feature, threshold = np.asarray(tree.feature), np.asarray(tree.threshold)
        left, right = np.asarray(tree.left), np.asarray(tree.right)
        at = np.zeros(stack.shape[1], dtype=np.intp)
        while True:
            inner = feature[at] != LEAF
            if not inner.any():
                return np.asarray(tree.kernel, dtype=object)[at].reshape(shape)
            f = np.where(inner, feature[at], 0)
            below = stack[f, np.arange(at.size)] <= threshold[at]
            at = np.where(inner, np.where(below, left[at], right[at]), at)
