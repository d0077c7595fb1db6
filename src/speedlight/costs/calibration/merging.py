"""Fewer tables that say the same: those of one term over coordinates of another are added into it.

A piecewise-linear table is itself on any finer nodes that contain its own, and constant along a coordinate it has not. So a
class's deviations, its architecture's and what all share become one table wherever one's coordinates hold the other's:
what a product looks up halves, and nothing but rounding changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .blocks import Axis

Plane = tuple[str, tuple[Axis, ...], np.ndarray]  # term, axes, table in C order

MOST = 1 << 14  # entries of a merged table: 128 KB stay in a core's second cache


def merged(planes: Iterable[Plane]) -> list[Plane]:
    """The same sums from as few tables as fit together; tables of more coordinates take in those of fewer."""
    result: list[Plane] = []
    for term, axes, table in sorted(planes, key=lambda plane: (-len(plane[1]), -plane[2].size)):
        for number, (other_term, other_axes, other) in enumerate(result):
            onto = _joint(axes, other_axes) if term == other_term else None
            if onto is not None:
                result[number] = (term, onto, _resampled(other_axes, other, onto) + _resampled(axes, table, onto))
                break
        else:
            result.append((term, axes, np.asarray(table, dtype=float)))
    return _aligned(result)


def sliced(plane: Plane, at: Mapping[str, float]) -> Plane:
    """What a table says where some coordinates are given: a table over the others."""
    term, axes, table = plane
    values = table.reshape([axis.count for axis in axes])
    for dim in reversed(range(len(axes))):
        if axes[dim].coord in at:
            index, share = axes[dim].locate(at[axes[dim].coord])
            low, high = values.take(index, dim), values.take(index + 1, dim)
            values = low + (high - low) * share
    return term, tuple(axis for axis in axes if axis.coord not in at), np.asarray(values, dtype=float).reshape(-1)


def _aligned(planes: list[Plane]) -> list[Plane]:
    """The same tables, those over one coordinate on one axis where that fits: each coordinate is located once."""
    for coord in dict.fromkeys(axis.coord for _, axes, _ in planes for axis in axes):
        common: Axis | None = None
        for axis in dict.fromkeys(axis for _, axes, _ in planes for axis in axes if axis.coord == coord):
            common = axis if common is None else _union(common, axis)
            if common is None:
                break
        if common is None:
            continue
        moved = []
        for term, axes, table in planes:
            onto = tuple(common if axis.coord == coord else axis for axis in axes)
            moved.append((term, onto, _resampled(axes, table, onto)))
        if all(table.size <= MOST for _, _, table in moved):
            planes = moved
    return planes


def _joint(axes: tuple[Axis, ...], into: tuple[Axis, ...]) -> tuple[Axis, ...] | None:
    """Axes on which both tables are exact; None where the first has a coordinate of its own or nodes do not agree."""
    own = {axis.coord: axis for axis in axes}
    if not own.keys() <= {axis.coord for axis in into}:
        return None
    found = []
    size = 1
    for axis in into:
        both = _union(own[axis.coord], axis) if axis.coord in own else axis
        if both is None:
            return None
        found.append(both)
        size *= both.count
    return tuple(found) if size <= MOST or axes == into else None


def _union(a: Axis, b: Axis) -> Axis | None:
    """The axis that holds the nodes of both, if the coarser one's are among the finer one's, continued."""
    if a == b:
        return a
    step = min(a.step, b.step)
    if any(x % step for x in (a.step, b.step, a.low - b.low, a.high - a.low, b.high - b.low)):
        return None
    return Axis(a.coord, min(a.low, b.low), max(a.high, b.high), step)


def _resampled(axes: tuple[Axis, ...], table: np.ndarray, onto: tuple[Axis, ...]) -> np.ndarray:
    """A table's values at the nodes of other axes, in C order."""
    if axes == onto:
        return np.asarray(table, dtype=float)
    wanted = {axis.coord: axis for axis in onto}
    values = np.asarray(table, dtype=float).reshape([axis.count for axis in axes])
    for dim, axis in enumerate(axes):
        target = wanted[axis.coord]
        index, share = axis.locate(target.low + target.step * np.arange(target.count))
        low, high = values.take(index, dim), values.take(index + 1, dim)
        values = low + (high - low) * share.reshape([-1 if d == dim else 1 for d in range(len(axes))])
    order = [axis.coord for axis in axes]
    values = values.transpose([order.index(axis.coord) for axis in onto if axis.coord in order])
    shape = [axis.count if axis.coord in order else 1 for axis in onto]
    return np.broadcast_to(values.reshape(shape), [axis.count for axis in onto]).reshape(-1)
