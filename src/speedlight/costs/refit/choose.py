"""Learning which kernel a stack runs from tables that name it: one small tree for each (framework, version, device, format)."""

from __future__ import annotations

import numpy as np

from ..calibration.choice import LEAF, LEVELS, Choice, Tree
from ..calibration.samples import Family
from .solve import Data

DEPTH = 6
LEAST = 20  # rows of a leaf


def learn_choice(family: Family, data: Data) -> Choice | None:
    """Trees by class, most specific first where they agree with nothing shorter; None where no kernel is named."""
    names, number_of = np.unique(np.asarray(data.names["kernel"], dtype=str), return_inverse=True)
    kernels = number_of[data.keys["kernel"]]
    named = names[kernels] != ""
    trees: dict[tuple[str, ...], Tree] = {}
    for fields in LEVELS:
        classes, inverse = data.classes(fields)
        for number, cls in enumerate(classes):
            rows = np.flatnonzero((inverse == number) & named)
            if rows.size:
                stack = [data.coords[c][rows] for c in family.choice]
                trees[cls] = grow(np.stack(stack, 1) if stack else np.zeros((rows.size, 0)), kernels[rows], names)
    return Choice(family.choice, trees) if trees else None


def grow(features: np.ndarray, kernels: np.ndarray, names: np.ndarray) -> Tree:
    """A classification tree (scikit-learn's CART), as plain tuples; ``kernels`` are numbers of ``names``."""
    counts = np.bincount(kernels)
    if np.count_nonzero(counts) == 1 or features.shape[1] == 0:
        return Tree((LEAF,), (0.0,), (LEAF,), (LEAF,), (str(names[np.argmax(counts)]),))
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=LEAST, random_state=0)
    inner = model.fit(features, kernels).tree_
    chosen = [str(names[model.classes_[np.argmax(v)]]) for v in inner.value[:, 0, :]]
    return Tree(
        tuple(int(f) if left != LEAF else LEAF for f, left in zip(inner.feature, inner.children_left, strict=True)),
        tuple(float(t) for t in inner.threshold), tuple(map(int, inner.children_left)),
        tuple(map(int, inner.children_right)), tuple(chosen),
    )  # fmt: skip
