"""Sweeps too large for a cache: sliced along their longest axis, joined again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._foundation.arrays import map_arrays
from ..scenario.scenario import Scenario
from .prediction import Prediction
from .resolve import Resolved

CHUNK = 1 << 15  # points of a sweep priced at once: what keeps a dozen temporaries inside a core's cache


def in_chunks(resolved: Resolved, shape: tuple[int, ...], answer: Callable[[Resolved], Prediction]) -> Prediction:
    """Slice the longest axis so that no temporary holds more than CHUNK points; join the totals.

    Args:
        resolved: the sweep.
        shape: the broadcast shape of its arrays.
        answer: prices one piece.
    """
    axis = int(np.argmax(shape))
    back = axis - len(shape)  # counted from the right, as broadcasting does
    step = max(1, CHUNK * shape[axis] // int(np.prod(shape)))
    pieces = []
    for start in range(0, shape[axis], step):

        def cut(array: np.ndarray, start: int = start) -> np.ndarray:
            if array.ndim < -back or array.shape[back] == 1:
                return array
            index = [slice(None)] * array.ndim
            index[back] = slice(start, start + step)
            return array[tuple(index)]

        part = Resolved(
            map_arrays(resolved.scenario, cut), resolved.graph, map_arrays(resolved.machine, cut), resolved.stack,
            resolved.assumptions,
        )  # fmt: skip
        pieces.append(answer(part))
    sizes = [min(step, shape[axis] - start) for start in range(0, shape[axis], step)]
    return join_pieces(pieces, resolved.scenario, shape, axis, sizes)


def join_pieces(
    pieces: list[Prediction], scenario: Scenario, shape: tuple[int, ...], axis: int, sizes: list[int]
) -> Prediction:
    """One prediction from the pieces of a sweep, every number of the sweep's whole shape."""
    first = pieces[0]

    def join(values: list[Any]) -> Any:
        head = values[0]
        if isinstance(head, Mapping):
            return {k: join([v[k] for v in values]) for k in head}
        if dataclasses.is_dataclass(head) and not isinstance(head, type):
            changes = {f.name: join([getattr(v, f.name) for v in values]) for f in dataclasses.fields(head)}
            return dataclasses.replace(head, **changes)
        if isinstance(head, (float, int, np.ndarray, np.generic)) and not isinstance(head, bool):
            if len(values) == 1:
                return np.broadcast_to(head, shape)
            slices = [
                np.broadcast_to(value, (*shape[:axis], size, *shape[axis + 1 :]))
                for size, value in zip(sizes, values, strict=True)
            ]
            return np.concatenate(slices, axis=axis)
        return head

    names = (
        "time", "low", "high", "limit", "bound", "flops", "flops_dense", "bytes", "mfu", "mbu", "throughput", "memory",
        "least", "ttft", "tpot",
    )  # fmt: skip
    changes = {name: join([getattr(p, name) for p in pieces]) for name in names}
    return dataclasses.replace(first, scenario=scenario, **changes)
