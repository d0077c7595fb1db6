"""Where the model runs: mesh degrees, divided dimensions, inserted messages (DESIGN decision 8).

A dimension's *role* decides which mesh axis divides it and by which rule; everything else follows from the graph's own
expressions, since they are written over the dimensions' symbols. Legend: tp, ep degrees; an expert's width is divided by
etp (:mod:`.mesh`).

Every degree may be an array: ``tp ∈ {1, 2, 4, 8}`` is one evaluation, and a message's ``count`` is 0 where its axis is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.errors import BadInput, Unsupported
from ..graph.ir import Dim, Graph
from ..scenario.scenario import Parallel
from .check import refuse, validate
from .insert import EP_ROLES, TP_ROLES, insert_messages
from .mesh import axes, expert_width, mesh_values, world
from .patches import strips

Value = Any


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks that run the same program.

    Attributes:
        multiplicity: how many ranks.
        graph: their program, messages inserted.
        dims: values of the graph's dimensions and mesh axes on one such rank.
    """

    multiplicity: Value
    graph: Graph
    dims: Mapping[str, Value]


def place(graph: Graph, parallel: Parallel, *, local_loss: bool = False) -> list[RankClass]:
    """The program of each rank class. All axes but pp make ranks alike; stages share one program and differ in how many of
    its blocks they hold (:mod:`.stages`), so there is one class.

    Args:
        local_loss: see :func:`.insert.insert_messages`.

    Raises:
        BadInput: where a degree does not divide what it must, naming the nearest that does.
        Unsupported: for a captured module (it names no divisible dimensions) with tp > 1.
    """
    program = insert_messages(graph, axes(parallel), local_loss)
    return [RankClass(world(parallel), program, dims_of(graph, parallel))]


def dims_of(graph: Graph, parallel: Parallel) -> dict[str, Value]:
    """Values of the graph's dimensions and mesh axes on one rank; errors as :func:`place`."""
    validate(parallel)
    for name in ("tp", "ep", "cp"):
        if name == "cp" and strips(graph):
            continue
        if not graph.dims and np.any(np.asarray(getattr(parallel, name)) > 1):
            raise Unsupported(
                f"{graph.name} names no dimensions that --{name} could divide",
                expected=f"--{name} 1 for a captured module",
            )
    dims = {name: _divide(name, dim, parallel) for name, dim in graph.dims.items()}
    return {**dims, **mesh_values(parallel)}


def _divide(name: str, dim: Dim, parallel: Parallel) -> Value:
    degree = _degree(dim.role, parallel)
    if degree is None:
        return dim.size
    array = np.asarray(degree)
    if dim.role == "vocab":
        return _ceil(dim.size, degree)  # engines pad the vocabulary
    if dim.role == "kv_heads":
        bad = (dim.size % array != 0) & (array % dim.size != 0)
        _refuse(name, dim, array, bad)
        shared = dim.size / degree
        return np.maximum(shared, 1.0) if isinstance(shared, np.ndarray) else max(shared, 1.0)
    _refuse(name, dim, array, dim.size % array != 0)
    return dim.size / degree


def _degree(role: str, parallel: Parallel) -> Value | None:
    if role in EP_ROLES:
        return parallel.ep
    if role == "expert_ffn":
        return expert_width(parallel)
    return parallel.tp if role in TP_ROLES else None


def _ceil(size: int, degree: Value) -> Value:
    return -(-size // degree)


def _refuse(name: str, dim: Dim, degree: np.ndarray, bad: np.ndarray) -> None:
    if not np.any(bad):
        return
    value = int(np.ravel(degree)[np.argmax(np.ravel(np.broadcast_to(bad, degree.shape)))])
    divisors = [d for d in range(1, min(dim.size, 1024) + 1) if dim.size % d == 0]
    near = sorted(divisors, key=lambda d: abs(d - value))[:2]
    axis = "ep" if dim.role in EP_ROLES else "etp" if dim.role == "expert_ffn" else "tp"
    raise BadInput(
        f"{axis} {value} does not divide {dim.size} {dim.role.replace('_', ' ')}",
        expected=f"a degree that divides {name} = {dim.size}",
        hint="nearest: " + " or ".join(str(d) for d in sorted(near)),
    )


__all__ = ["EP_ROLES", "TP_ROLES", "RankClass", "dims_of", "place", "refuse", "validate", "world"]
