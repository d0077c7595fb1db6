"""Which kernel a stack runs: a small decision tree over coordinates for each (device, framework, version, format).

Users never say which kernel ran; the stack chose it by format, shape and device. Where one kernel always runs the tree is
a single leaf. Unknown devices take the tree of their architecture, else of devices with their matrix instructions, else of the framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..._foundation.arrays import Value
from .naming import field_of, implementation

LEAF = -1

# Key fields a tree may be grown for, the most particular first. Weight-only formats share a partition with bf16, not its kernels.
LEVELS = (
    ("framework", "version", "device", "format"),
    ("framework", "version", "device"),
    ("framework", "device"),
    ("framework", "architecture"),
    ("framework", "instructions", "format"),
    ("framework", "instructions"),
    ("framework",),
)

Coded = tuple[tuple[str, ...], np.ndarray]  # names, and which of them each point has


@dataclass(frozen=True)
class Tree:
    """Arrays of nodes: at node i go left when ``coordinate[feature[i]] <= threshold[i]``; leaves name a kernel."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    kernel: tuple[str, ...]

    def names(self, code: str) -> bool:
        """Whether a leaf names a kernel of a code."""
        leaves = (k for k, f in zip(self.kernel, self.feature, strict=True) if f == LEAF)
        return any(implementation(k) == code for k in leaves)


@dataclass(frozen=True)
class Choice:
    """Trees by class, with the coordinates they look at."""

    coords: tuple[str, ...]
    trees: Mapping[tuple[str, ...], Tree]

    def tree(self, key: Mapping[str, str]) -> Tree | None:
        code = key.get("code", "")
        first = None
        for fields in LEVELS:
            tree = self.trees.get(tuple(field_of(key, name) for name in fields))
            if tree is None:
                continue
            if not code or "format" in fields or tree.names(code):
                return tree
            first = first or tree
        return self._elsewhere(key, code) or first

    def _elsewhere(self, key: Mapping[str, str], code: str) -> Tree | None:
        """A tree of the framework on another device that names a kernel of a code: the format's, if there is one."""
        own = [(c, tree) for c, tree in sorted(self.trees.items()) if c[0] == key.get("framework") and tree.names(code)]
        return next((tree for c, tree in own if key.get("format") in c), own[0][1] if own else None)

    def kernels(self, key: Mapping[str, str], coords: Mapping[str, Value]) -> str | np.ndarray:
        """The kernel's name, or an array of names where coordinates are arrays and the choice depends on them."""
        found = self.codes(key, coords)
        if isinstance(found, str):
            return found
        names, codes = found
        chosen: np.ndarray = np.asarray(names, dtype=object)[codes]
        return chosen

    def codes(self, key: Mapping[str, str], coords: Mapping[str, Value]) -> str | Coded:
        """The kernel's name, or (names, which of them each point has) where points may differ."""
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
        names = tuple(sorted({k for k, f in zip(tree.kernel, tree.feature, strict=True) if f == LEAF}))
        return names, _leaves(tree, [np.broadcast_to(c, shape).reshape(-1) for c in columns], names).reshape(shape)


def _leaves(tree: Tree, columns: list[np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    """The number of each point's kernel among ``names``; every node looks only at the points that reach it."""
    found = np.empty(columns[0].size, dtype=np.intp)
    reached = [(0, np.arange(columns[0].size))]
    while reached:
        node, points = reached.pop()
        feature = tree.feature[node]
        if feature == LEAF:
            found[points] = names.index(tree.kernel[node])
            continue
        below = columns[feature].take(points) <= tree.threshold[node]
        reached.append((tree.left[node], points[below]))
        reached.append((tree.right[node], points[~below]))
    return found
