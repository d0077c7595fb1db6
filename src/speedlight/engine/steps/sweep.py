"""Sweeps too large for a cache: sliced along their longest axis, joined again."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..._foundation.arrays import map_arrays
from ..answers.prediction import Prediction
from ..questions.resolve import Resolved

CHUNK = 1 << 16  # points of a sweep priced at once: what a kernel costs is mostly arithmetic, not Python


NUMBERS = (
    "time", "low", "high", "limit", "bound", "flops", "flops_dense", "bytes", "mfu", "mbu", "throughput", "memory",
    "least", "ttft", "tpot", "hfu", "period",
)  # fmt: skip


def in_chunks(resolved: Resolved, shape: tuple[int, ...], answer: Callable[[Resolved], Prediction]) -> Prediction:
    """Slice the longest axis so that no temporary holds more than CHUNK points; join the totals.

    Args:
        resolved: the sweep.
        shape: the broadcast shape of its arrays.
        answer: prices one piece.

    Returns:
        one prediction, every number of the sweep's whole shape. Pieces are priced side by side, one thread a core
        (NumPy lets go of the interpreter while it computes); each is copied into the whole as soon as it is there, so
        that the next one finds its memory free.
    """
    axis = int(np.argmax(shape))
    back = axis - len(shape)  # counted from the right, as broadcasting does
    step = max(1, CHUNK * shape[axis] // int(np.prod(shape)))

    def piece(start: int) -> tuple[Prediction, dict[str, Any]]:
        def cut(array: np.ndarray) -> np.ndarray:
            if array.ndim < -back or array.shape[back] == 1:
                return array
            index = [slice(None)] * array.ndim
            index[back] = slice(start, start + step)
            return array[tuple(index)]

        priced = answer(resolved.mapped(functools.partial(map_arrays, function=cut)))
        return priced, {name: getattr(priced, name) for name in NUMBERS}

    first, numbers = piece(0)
    room = _room(numbers, shape, step >= shape[axis])
    lead = (slice(None),) * axis
    _fill(room, numbers, (*lead, slice(0, step)))

    def fill(start: int) -> None:
        _fill(room, piece(start)[1], (*lead, slice(start, start + step)))

    rest = range(step, shape[axis], step)
    if rest:
        from concurrent.futures import ThreadPoolExecutor  # not before it is needed: a cold start has no use for it

        with ThreadPoolExecutor(min(len(rest), os.cpu_count() or 1)) as pool:
            for _ in pool.map(fill, rest):  # re-raises what a piece raised
                pass
    return dataclasses.replace(first, scenario=resolved.scenario, **room)


def _is_number(value: Any) -> bool:
    return isinstance(value, (float, int, np.ndarray, np.generic)) and not isinstance(value, bool)


def _room(value: Any, shape: tuple[int, ...], alone: bool) -> Any:
    """A record like a piece's with an array of the whole shape for every number; of a piece ``alone`` its own numbers."""
    if isinstance(value, Mapping):
        return {key: _room(own, shape, alone) for key, own in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = {f.name: _room(getattr(value, f.name), shape, alone) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **own)
    if not _is_number(value):
        return value
    return np.broadcast_to(value, shape) if alone else np.empty(shape, np.asarray(value).dtype)


def _fill(room: Any, value: Any, where: tuple[slice, ...]) -> None:
    """Copy a piece's numbers to their place; a piece alone is there already."""
    if isinstance(value, Mapping):
        for key, own in value.items():
            _fill(room[key], own, where)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            _fill(getattr(room, field.name), getattr(value, field.name), where)
    elif _is_number(value) and room.flags.writeable:
        room[where] = value
