"""Where a served model runs: attention split or replicated, experts spread on their own (inference placement).

An engine's layout has degrees of its own. Attention is divided over ``tp`` ranks and replicated ``adp`` times, each replica
with requests of its own ("attention data parallelism"); the experts of all tp · adp ranks form one pool, divided into
``moe_ep`` groups of experts and ``moe_tp`` parts of each expert's width; ``pp`` stages follow one another. Replicas meet
in every expert layer, so they step together, and experts see the tokens of all of them.

Legend: tp · adp = moe_tp · moe_ep = ranks of one stage; every degree may be an array.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.arrays import maximum
from .._foundation.errors import BadInput
from ..graph.ir import Dim, Graph
from .place import EP_ROLES, TP_ROLES

Value = Any


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of an inference engine; see the module docstring. Every field broadcasts."""

    tp: Value = 1
    adp: Value = 1
    moe_tp: Value = 1
    moe_ep: Value = 1
    pp: Value = 1

    @property
    def ranks(self) -> Value:
        """Devices of one stage."""
        return self.tp * self.adp

    @property
    def world(self) -> Value:
        return self.ranks * self.pp


def check(layout: Layout) -> None:
    """Refuse what is no layout.

    Raises:
        BadInput: for degrees that are no positive whole numbers, or experts that do not fill the stage's ranks.
    """
    for field in dataclasses.fields(layout):
        array = np.asarray(getattr(layout, field.name))
        if array.dtype.kind not in "iuf" or np.any(~np.isfinite(array)) or np.any((array < 1) | (array % 1 != 0)):
            raise BadInput(f"{field.name} is {getattr(layout, field.name)!r}", expected="a positive whole number")
    if np.any(np.asarray(layout.moe_tp * layout.moe_ep) != layout.ranks):
        raise BadInput(
            f"moe_tp {layout.moe_tp} × moe_ep {layout.moe_ep} is not tp {layout.tp} × adp {layout.adp}",
            expected="experts on all ranks of a stage",
        )


def fits(graph: Graph, layout: Layout) -> Any:
    """Whether the degrees divide the model's dimensions (key and value heads may be copied); by layout."""
    fine: Any = np.asarray(layout.tp) > 0
    for dim in graph.dims.values():
        degree = degree_of(dim, layout)
        if degree is None or dim.role == "vocab":
            continue
        degree = np.asarray(degree)
        whole = dim.size % degree == 0
        if dim.role == "kv_heads":
            whole = whole | (degree % dim.size == 0)
        fine = fine & whole
    return fine


def dims_of(graph: Graph, layout: Layout) -> dict[str, Value]:
    """Values of the graph's dimensions and mesh axes on one rank of a layout that :func:`fits`."""
    dims = {name: _share(dim, degree_of(dim, layout)) for name, dim in graph.dims.items()}
    mesh: Mapping[str, Value] = {"tp": layout.tp, "ep": layout.moe_ep, "dp": 1, "pp": 1, "cp": 1}
    return {**dims, **mesh}


def degree_of(dim: Dim, layout: Layout) -> Value | None:
    """By how many a dimension is divided; None for those every rank has whole."""
    if dim.role in EP_ROLES:
        return layout.moe_ep
    if dim.role == "expert_ffn":
        return layout.moe_tp
    return layout.tp if dim.role in TP_ROLES else None


def _share(dim: Dim, degree: Value | None) -> Value:
    if degree is None:
        return dim.size
    if dim.role == "vocab":
        return -(-dim.size // degree)  # engines pad the vocabulary
    return maximum(dim.size / degree, 1.0)
