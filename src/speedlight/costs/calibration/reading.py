"""Tables of one class read together, at one point or at many: axes they share are located once.

Both ways interpolate by the same formula, a + (b − a) · share from the last axis to the first, so that one point says
what an array of it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..._foundation.arrays import Value
from .blocks import Axis
from .merging import Plane, merged, sliced

MANY = 4096  # points from which coordinates that are the same at all of them are looked for
KEPT = 32  # readers with such coordinates fixed, of one class


class Reader:
    """Tables ready to be read.

    Args:
        planes: (term, axes, flat table in C order) of at most three axes; values of one term add up.
    """

    __slots__ = ("_axes", "_fixed", "_lists", "_planes", "_tables")

    def __init__(self, planes: Iterable[Plane]) -> None:
        numbers: dict[Axis, int] = {}
        self._planes = tuple(planes)
        self._tables: list[tuple[str, tuple[tuple[int, int], ...], tuple[np.ndarray, ...]]] = []
        for term, axes, table in self._planes:
            places: list[tuple[int, int]] = []
            offsets = [0]
            stride = table.size
            for axis in axes:
                stride //= axis.count
                places.append((numbers.setdefault(axis, len(numbers)), stride))
                offsets = [o + d for o in offsets for d in (0, stride)]
            # One view a corner: an index finds all of them without being added to.
            corners = tuple(np.asarray(table, dtype=float)[o:] for o in offsets)
            self._tables.append((term, tuple(places), corners))
        self._axes = tuple(numbers)
        self._lists: list[list[float]] | None = None  # as Python floats: five times faster to read one by one
        self._fixed: dict[tuple[tuple[str, float], ...], Reader] = {}

    def read(self, coords: Mapping[str, Value]) -> dict[str, Value]:
        """Sum of the tables of each term at some coordinates; floats or arrays."""
        values = [coords[axis.coord] for axis in self._axes]
        many = any(isinstance(value, np.ndarray) for value in values)
        if many:
            same = _same({axis.coord: value for axis, value in zip(self._axes, values, strict=True)})
            if same:
                return self._at(same).read(coords)
        found = [axis.locate(value) for axis, value in zip(self._axes, values, strict=True)]
        result: dict[str, Value] = {}
        for number, (term, places, corners) in enumerate(self._tables):
            at = [(*found[axis], stride) for axis, stride in places]
            value = _many(corners, at) if many else _ONE[len(at)](self._table(number), *at)
            result[term] = result[term] + value if term in result else value
        return result

    def _at(self, same: Mapping[str, float]) -> Reader:
        """The reader of what the tables say at some coordinates: of fewer axes, so that more of them are one."""
        key = tuple(sorted(same.items()))
        found = self._fixed.get(key)  # held on to: another thread may clear them
        if found is None:
            found = Reader(merged(sliced(plane, same) for plane in self._planes))
            if len(self._fixed) >= KEPT:
                self._fixed.clear()
            self._fixed[key] = found
        return found

    def _table(self, number: int) -> list[float]:
        if self._lists is None:
            self._lists = [corners[0].tolist() for _, _, corners in self._tables]
        return self._lists[number]


Place = tuple[int, float, int]  # node below, share of the way to the next one, distance of the two in the table


def _same(values: Mapping[str, Value]) -> dict[str, float]:
    """Coordinates that are one number at all of many points."""
    if max(np.size(value) for value in values.values()) < MANY:
        return {}
    found = {}
    for name, value in values.items():
        if not isinstance(value, np.ndarray):
            found[name] = float(value)
        elif value.flat[0] == value.flat[-1] and (value == value.flat[0]).all():
            found[name] = float(value.flat[0])
    return found


def _line(table: list[float], at: Place, base: int = 0) -> float:
    index, share, step = at
    base += index * step
    low = table[base]
    return low + (table[base + step] - low) * share


def _patch(table: list[float], first: Place, second: Place, base: int = 0) -> float:
    index, share, step = first
    base += index * step
    low = _line(table, second, base)
    return low + (_line(table, second, base + step) - low) * share


def _cell(table: list[float], first: Place, second: Place, third: Place) -> float:
    index, share, step = first
    base = index * step
    low = _patch(table, second, third, base)
    return low + (_patch(table, second, third, base + step) - low) * share


def _number(table: list[float]) -> float:
    """What is left of a table when all its coordinates are one point."""
    return table[0]


_ONE: Mapping[int, Callable[..., float]] = {0: _number, 1: _line, 2: _patch, 3: _cell}


def _many(corners: tuple[np.ndarray, ...], at: list[tuple[Value, Value, int]]) -> Value:
    """Values of a table at many points, the last axis folded first."""
    base: Value = 0
    for index, _, step in at:
        base = base + (index * step if step > 1 else index)
    values = [corner.take(base) for corner in corners]
    for _, share, _ in reversed(at):
        folded = []
        for low, high in zip(values[::2], values[1::2], strict=True):
            high = high - low
            high *= share
            high += low
            folded.append(high)
        values = folded
    return values[0]
