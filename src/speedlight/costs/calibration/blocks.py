"""Additive tables of log-efficiency: piecewise-linear over one to three coordinates, one table for each class.

A *class* is the values of some key fields (``device``, ``framework`` …). A block whose class was never measured adds
nothing, so deviations fall back on what is shared: that is how a fit reaches devices it has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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

    def locate(self, x: Value) -> tuple[Value, Value]:
        """Index of the node at or below ``x`` and the share of the way to the next one."""
        last = self.count - 1
        if isinstance(x, np.ndarray):
            position = np.clip((x - self.low) * (1.0 / self.step), 0.0, last)
            index = np.minimum(position.astype(np.intp), last - 1)
            return index, position - index
        place = min(max(float((x - self.low) * (1.0 / self.step)), 0.0), float(last))
        below = min(int(place), last - 1)
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


class Reader:
    """Tables ready to be read together: axes they share are located once.

    Args:
        planes: (term, axes, flat table in C order); values of one term add up.
    """

    __slots__ = ("_axes", "_lists", "_planes")

    def __init__(self, planes: Iterable[tuple[str, tuple[Axis, ...], np.ndarray]]) -> None:
        axes: dict[Axis, int] = {}
        self._planes: list[tuple[str, tuple[tuple[int, int], ...], np.ndarray]] = []
        for term, own, table in planes:
            strides = [1]
            for axis in reversed(own[1:]):
                strides.insert(0, strides[0] * axis.count)
            places = tuple((axes.setdefault(a, len(axes)), stride) for a, stride in zip(own, strides, strict=True))
            self._planes.append((term, places, np.asarray(table, dtype=float)))
        self._axes = tuple(axes)
        self._lists: list[list[float]] | None = (
            None  # the tables as Python floats, five times faster to read one by one
        )

    def read(self, coords: Mapping[str, Value]) -> dict[str, Value]:
        """Sum of the tables of each term at some coordinates; floats or arrays."""
        found = [axis.locate(coords[axis.coord]) for axis in self._axes]
        if any(isinstance(coords[axis.coord], np.ndarray) for axis in self._axes):
            return self._sums(found, [table for _, _, table in self._planes], _many)
        if self._lists is None:
            self._lists = [table.tolist() for _, _, table in self._planes]
        return self._sums(found, self._lists, _one)

    def _sums(
        self, found: list[tuple[Value, Value]], tables: Sequence[Any], read: Callable[..., Value]
    ) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for (term, places, _), table in zip(self._planes, tables, strict=True):
            value = read(table, [(*found[number], stride) for number, stride in places])
            result[term] = result[term] + value if term in result else value
        return result


def _one(table: list[float], at: list[tuple[int, float, int]], base: int = 0) -> float:
    """Multilinear value of a table at one point."""
    index, share, step = at[0]
    base += index * step
    if len(at) == 1:
        return table[base] * (1.0 - share) + table[base + step] * share
    rest = at[1:]
    return _one(table, rest, base) * (1.0 - share) + _one(table, rest, base + step) * share


def _many(table: np.ndarray, at: list[tuple[Value, Value, int]]) -> Value:
    """Multilinear values of a table at many points, one axis folded after the other."""
    base: Value = 0
    offsets = [0]
    for index, _, step in at:
        base = base + index * step
        offsets = [o + d for o in offsets for d in (0, step)]
    values = [table.take(base + o) for o in offsets]
    for _, share, _ in reversed(at):
        values = [low + (high - low) * share for low, high in zip(values[::2], values[1::2], strict=True)]
    return values[0]
