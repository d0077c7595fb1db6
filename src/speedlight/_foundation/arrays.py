"""Elementwise helpers that keep scalars Python floats (five times faster than 0-d arrays) and broadcast arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

Value = Any  # float or numpy array


def maximum(a: Value, b: Value) -> Value:
    """The larger of two; scalars stay Python floats (five times faster than 0-d arrays)."""
    if type(a) is float and type(b) is float:  # most calls of one question, told in half the time
        return a if a >= b else b
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.maximum(a, b)
    return a if a >= b else b


def minimum(a: Value, b: Value) -> Value:
    if type(a) is float and type(b) is float:
        return a if a <= b else b
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.minimum(a, b)
    return a if a <= b else b


def where(condition: Value, a: Value, b: Value) -> Value:
    if isinstance(condition, np.ndarray):
        return np.where(condition, a, b)
    return a if condition else b


def added(values: Iterable[Value]) -> Value:
    """The sum of numbers or arrays; 0 of none."""
    found: Value = 0.0
    for value in values:
        found = found + value
    return found


def ceil(a: Value) -> Value:
    """Rounded up; a relative slack of 1e-9 forgives float noise in exact quotients."""
    if isinstance(a, np.ndarray):
        return np.ceil(a * (1 - 1e-9))
    return float(-(-(a * (1 - 1e-9)) // 1))


def floor(a: Value) -> Value:
    """Rounded down (np.floor: three times faster than ``// 1``)."""
    return np.floor(a) if isinstance(a, np.ndarray) else float(a // 1)


def log2(a: Value) -> Value:
    """Logarithm to base 2; a float stays a float."""
    return np.log2(a) if isinstance(a, np.ndarray) else math.log2(a)


def shape_of(record: Any) -> tuple[int, ...]:
    """The broadcast shape of every array inside a frozen record (nested dataclasses, tuples, mappings)."""
    shapes: list[tuple[int, ...]] = []

    def note(array: np.ndarray) -> np.ndarray:
        shapes.append(array.shape)
        return array

    map_arrays(record, note)
    return np.broadcast_shapes(*shapes) if shapes else ()


def map_arrays(record: Any, function: Callable[[np.ndarray], Any]) -> Any:
    """A copy of a frozen record with ``function`` applied to every array in it; records without arrays come back as is."""
    kind = type(record)
    if kind in _LEAVES:
        return record
    if isinstance(record, np.ndarray):
        return function(record) if record.ndim else record.item()
    names = _FIELDS.get(kind)
    if names is None and kind not in _FIELDS:
        names = _FIELDS[kind] = _fields(kind)
    if names is not None:
        changes = {}
        for name in names:
            old = getattr(record, name)
            if type(old) not in _LEAVES:
                new = map_arrays(old, function)
                if new is not old:
                    changes[name] = new
        return dataclasses.replace(record, **changes) if changes else record
    if kind is tuple:
        mapped = tuple(map_arrays(item, function) for item in record)
        return mapped if any(a is not b for a, b in zip(mapped, record, strict=True)) else record
    if isinstance(record, Mapping):
        pairs = {key: map_arrays(value, function) for key, value in record.items()}
        return pairs if any(pairs[k] is not v for k, v in record.items()) else record
    return record


_LEAVES = frozenset({float, int, str, bool, type(None)})  # most of what records hold: told apart first


_FIELDS: dict[type, tuple[str, ...] | None] = {}


def _fields(kind: type) -> tuple[str, ...] | None:
    """Names of a dataclass's fields; None of any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None
