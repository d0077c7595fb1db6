"""Surfaces made to rise with a size: what few or noisy rows say of it never makes more work cost less.

A fit's terms and the surface of a class over sizes (``total`` blocks that look at the size) are its *centre*. Where the
centre falls along the size it is replaced by the rising curve nearest to it, node by node of the surface: the nearest in
absolute error, so that one slow size (the first call of an eager benchmark takes three times the next) gives way to the
many, and nodes without rows give way to those with. What then falls is ripple, which is bounded
(:data:`..calibration.model.RIPPLE`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..calibration.blocks import Block, Places, corners
from ..calibration.model import Fitted, Part, combine, reader
from ..calibration.samples import Family
from .solve import Data

ROUNDS = 4  # of reweighting squares to absolute errors
CLOSE = 0.02  # log: errors below count alike
BARE = 1e-3  # weight of a node without rows, over that of the typical one
SPREAD = 3  # devices of a class looked at; their centres are averaged


def risen(family: Family, part: Part, fitted: tuple[Fitted, ...], data: Data) -> tuple[Fitted, ...]:
    """A stage's tables, those over the rising size projected; ``part`` holds the stages before it."""
    if family.rising is None:
        return fitted
    return tuple(
        _risen(family, part, f, data) if f.block.term == "total" and _axis(family, f.block) is not None else f
        for f in fitted
    )


def steady(family: Family, fitted: tuple[Fitted, ...], data: Data) -> tuple[Fitted, ...]:
    """Shared tables of terms that must rise by themselves (:attr:`..calibration.samples.Rising.own`), each with those before it projected."""
    if family.rising is None:
        return fitted
    done: list[Fitted] = []
    for f in fitted:
        coord = next((a.coord for a in f.block.axes if (f.block.term, a.coord) in family.rising.own), None)
        before = [g for g in done if g.block.term == f.block.term and coord in [a.coord for a in g.block.axes]]
        done.append(f if coord is None else _steady(family.rising.own[f.block.term, coord], coord, f, before, data))
    return tuple(done)


def _steady(
    own: Callable[[np.ndarray], np.ndarray], coord: str, fitted: Fitted, before: Sequence[Fitted], data: Data
) -> Fitted:
    block = fitted.block
    axis = [a.coord for a in block.axes].index(coord)
    nodes = np.meshgrid(*(a.low + a.step * np.arange(a.count) for a in block.axes), indexing="ij")
    coords = {a.coord: v.ravel() for a, v in zip(block.axes, nodes, strict=True)}
    common = [f for f in before if f.block.per == ()]
    below = own(coords[coord]) + reader(common, {}).read(coords).get(block.term, 0.0)
    classes, inverse = data.classes(block.per)
    result = {
        cls: _projected(block, axis, below, fitted.tables[cls], data.take(np.flatnonzero(inverse == number)))
        for number, cls in enumerate(classes)
    }
    return Fitted(block, {**fitted.tables, **result})


def _axis(family: Family, block: Block) -> int | None:
    names = [axis.coord for axis in block.axes]
    return names.index(family.rising.coord) if family.rising and family.rising.coord in names else None


def _risen(family: Family, part: Part, fitted: Fitted, data: Data) -> Fitted:
    block = fitted.block
    axis = _axis(family, block)
    assert axis is not None
    classes, inverse = data.classes(block.per)
    result = dict(fitted.tables)
    for number, cls in enumerate(classes):
        rows = np.flatnonzero(inverse == number)
        own = data.take(rows)
        keys = _keys(own)
        below = np.mean([_centre(family, part, block, key) for key in keys[:SPREAD]], axis=0)
        result[cls] = _projected(block, axis, below, fitted.tables[cls], own)
    return Fitted(block, result)


def _projected(block: Block, axis: int, below: np.ndarray, table: np.ndarray, data: Data) -> np.ndarray:
    """The table with which ``below`` rises along an axis; nodes count by the rows near them."""
    support = np.zeros(block.size)
    for index, weight in corners(block.axes, Places(data.coords)):
        support += np.bincount(np.asarray(index), np.asarray(weight), block.size)
    support += BARE * support.max()
    shape = [a.count for a in block.axes]
    lines, weights = (np.moveaxis(v.reshape(shape), axis, 0) for v in (below + np.asarray(table, dtype=float), support))
    curve = rising(lines.reshape(shape[axis], -1), weights.reshape(shape[axis], -1))
    result: np.ndarray = np.moveaxis(curve.reshape(lines.shape), 0, axis).ravel() - below
    return result


def _keys(data: Data) -> list[Mapping[str, str]]:
    """The key of one row of each device."""
    _, first = np.unique(data.keys["device"], return_index=True)
    return [{name: data.names[name][int(codes[row])] for name, codes in data.keys.items()} for row in first]


def _centre(family: Family, part: Part, block: Block, key: Mapping[str, str]) -> np.ndarray:
    """Log seconds at the nodes of a surface, by everything before it but ripple."""
    assert family.rising is not None
    nodes = np.meshgrid(*(a.low + a.step * np.arange(a.count) for a in block.axes), indexing="ij")
    view = family.rising.view(key, {a.coord: 2.0 ** v.ravel() for a, v in zip(block.axes, nodes, strict=True)})
    coords = {name: np.broadcast_to(value, block.size) for name, value in view.coords.items()}
    bends = reader([f for f in part.blocks if f.block.term != "ripple"], key).read(coords)
    busy = {n: view.terms[n] * np.exp(bends.get(n, 0.0)) for n in (*part.parallel, *part.serial) if n in view.terms}
    result: np.ndarray = np.log(combine(part, busy)) + bends.get("total", 0.0)
    return result


def rising(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The rising curves nearest to columns of values, in weighted absolute error."""
    found = values
    if np.all(np.diff(values, axis=0) >= 0.0):
        return found
    share = weights
    for _ in range(ROUNDS):
        found = _least_squares(values, share)
        share = weights / np.maximum(np.abs(values - found), CLOSE)
    return found


def _least_squares(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Isotonic regression of columns: the i-th value is the largest over a ≤ i of the least over b ≥ i of the mean of a … b."""
    count = len(values)
    zero = np.zeros((1, values.shape[1]))
    total, weight = (np.concatenate([zero, np.cumsum(v, axis=0)]) for v in (values * weights, weights))
    found = np.full_like(values, -np.inf)
    for a in range(count):
        mean = (total[a + 1 :] - total[a]) / (weight[a + 1 :] - weight[a])
        least = np.minimum.accumulate(mean[::-1], axis=0)[::-1]
        found[a:] = np.maximum(found[a:], least)
    return found
