"""Additive tables of log-efficiency: piecewise-linear over one to three coordinates, one table for each class.

A *class* is the values of some key fields (``device``, ``framework`` …). A block whose class was never measured adds
nothing, so deviations fall back on what is shared: that is how a fit reaches devices it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..._foundation.arrays import Value


@dataclass(frozen=True)
class Axis:
    """Evenly spaced nodes of one coordinate; beyond its ends the last value holds.

    Attributes:
        coord: name of the coordinate.
        low, high: first and last node.
        step: distance of the nodes.
    """

    coord: str
    low: float
    high: float
    step: float = 1.0

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.coord, self.low, self.high, self.step))

    @cached_property
    def count(self) -> int:
        return round((self.high - self.low) / self.step) + 1

    @cached_property
    def _last(self) -> float:
        """The last node, an eps before it: it belongs to the interval below."""
        return math.nextafter(self.count - 1.0, 0.0)

    def locate(self, x: Value) -> tuple[Value, Value]:
        """Index of the node at or below ``x``, the last but one at most, and the share of the way to the next one."""
        position = (x - self.low) * (1.0 / self.step)
        if isinstance(position, np.ndarray):
            position = np.minimum(np.maximum(position, 0.0), self._last)
            index = position.astype(np.intp)
            return index, position - index
        place = min(max(float(position), 0.0), self._last)
        below = int(place)
        return below, place - below


@dataclass(frozen=True)
class Block:
    """One additive part of a term's log-efficiency.

    Attributes:
        term: the term it bends, or ``total`` for the whole time.
        axes: one to three coordinates.
        per: key fields that each have a table of their own; () for one table shared by all.
        smooth: weight of squared second differences along each axis when fitting.
        ridge: weight of squared values when fitting: how strongly a class must disagree with what is shared.
        flat: weight of squared first differences beside the second ones: beyond the last measured node a table then
            goes on level; with 0 it goes on along its last slope.
    """

    term: str
    axes: tuple[Axis, ...]
    per: tuple[str, ...] = ()
    smooth: tuple[float, ...] = ()
    ridge: float = 1e-2
    flat: float = 0.0

    @cached_property
    def size(self) -> int:
        result = 1
        for axis in self.axes:
            result *= axis.count
        return result


class Places:
    """Where coordinates lie on axes, found once and shared by all tables that use the same axis."""

    __slots__ = ("_coords", "_found")

    def __init__(self, coords: Mapping[str, Value]) -> None:
        self._coords = coords
        self._found: dict[Axis, tuple[Value, Value]] = {}

    def on(self, axis: Axis) -> tuple[Value, Value]:
        place = self._found.get(axis)
        if place is None:
            place = self._found[axis] = axis.locate(self._coords[axis.coord])
        return place


def corners(axes: tuple[Axis, ...], places: Places) -> list[tuple[Value, Value]]:
    """The (flat index, weight) of each of the 2^d nodes around a point; weights sum to 1."""
    found: list[tuple[Value, Value]] = [(0, 1.0)]
    for axis in axes:
        index, share = places.on(axis)
        count = axis.count
        found = [
            pair
            for base, weight in found
            for pair in ((base * count + index, weight * (1.0 - share)), (base * count + index + 1, weight * share))
        ]
    return found
