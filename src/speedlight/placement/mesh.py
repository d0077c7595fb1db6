"""The mesh: degrees of the axes, what follows from them on every rank, and where the ranks of an axis stand.

Ranks are numbered from the inside out: tp, then cp, dp and pp. The ranks of an axis stand as far apart as the product of the
axes inside it. Experts lie on the same tp · cp · dp ranks of a stage in an order of their own: etp inside, then ep; what is
left of the ranks holds copies of them (Megatron Core's expert mesh).

Legend: G = ep · etp, the ranks that hold one copy of all experts of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._foundation.arrays import maximum, where
from .._foundation.expr import Expr, const, sym
from ..scenario.scenario import Parallel

Value = Any

# Symbols that placement binds on every rank beside the graph's dimensions.
TP, CP, DP, PP, EP, ETP = (sym(name) for name in ("tp", "cp", "dp", "pp", "ep", "etp"))
SPLIT = sym("split")
ROUTED = sym("routed")

# Axis → (size, stride) of its ranks.
SPANS: Mapping[str, tuple[Expr, Expr]] = {
    "tp": (TP, const(1)),
    "cp": (CP, TP),
    "dp": (DP, TP * CP),
    "pp": (PP, TP * CP * DP),
    "etp": (ETP, const(1)),
    "ep": (EP, ETP),
}


def expert_width(parallel: Parallel) -> Value:
    """Ranks that divide an expert's width: as stated, else what ep leaves of tp."""
    if parallel.etp is not None:
        return parallel.etp
    return maximum(parallel.tp // parallel.ep, 1)


def world(parallel: Parallel) -> Value:
    """Devices in use."""
    return parallel.tp * parallel.pp * parallel.dp * parallel.cp


def replicas(parallel: Parallel) -> Value:
    """Ranks that hold the same dense weights and see different tokens: they sum gradients."""
    return parallel.dp * parallel.cp


def expert_replicas(parallel: Parallel) -> Value:
    """The same of an expert's weights."""
    return parallel.tp * parallel.cp * parallel.dp / (parallel.ep * expert_width(parallel))


def shard_ranks(parallel: Parallel, copies: Value) -> Value:
    """Ranks a ZeRO shard spreads over: all that hold the same, or as many as hybrid sharding says."""
    if parallel.shard is None:
        return copies
    return -maximum(-parallel.shard, -copies)


def routed(parallel: Parallel) -> Value:
    """1 where tokens travel to experts, 0 where every rank of a tensor-parallel group sees all its tokens anyway."""
    group = parallel.ep * expert_width(parallel)
    divided = (np.asarray(parallel.sp) > 0) & (np.asarray(parallel.tp) > 1)
    found = (np.asarray(group) != np.asarray(parallel.tp)) | divided
    return _plain(np.where(found, 1.0, 0.0))


def token_ranks(parallel: Parallel) -> Value:
    """Ranks that divide a replica's tokens where tensor parallelism divides nothing else: tp with sequence parallelism."""
    return where(np.asarray(parallel.sp) > 0, parallel.tp, 1) if np.ndim(parallel.sp) else (
        parallel.tp if parallel.sp else 1
    )  # fmt: skip


# Mesh axis of a message inside a layer → what it carries (:class:`..scenario.scenario.Wire`).
CARRIES: Mapping[str, str] = {"tp": "tensor", "ep": "experts", "etp": "experts", "cp": "context"}


def wired(parallel: Parallel) -> dict[str, Value]:
    """Values of the symbols of messages inside layers that travel another way: share of their bytes, passes to pack them."""
    found: dict[str, Value] = {}
    for carries in sorted(set(CARRIES.values())):
        wire = parallel.wire(carries)
        share = wire.share
        if wire.stays is not None:  # of picks spread evenly 1 − 1/ep leave their rank
            share = share * (1.0 - wire.stays) / maximum(1.0 - 1.0 / parallel.ep, 1e-9)
        found[f"wire_{carries}"], found[f"packs_{carries}"] = share, wire.passes
    return found


def packed(parallel: Parallel) -> frozenset[str]:
    """Sorts of messages inside layers whose bytes are not the payload's."""
    sorts = set(CARRIES.values())
    return frozenset(
        w.carries
        for w in parallel.wires
        if w.carries in sorts
        and (w.stays is not None or np.any(np.asarray(w.share) != 1) or np.any(np.asarray(w.passes) > 0))
    )


def mesh_values(parallel: Parallel) -> dict[str, Value]:
    """Values of the mesh's symbols."""
    strips = np.any(np.asarray(parallel.cp) > 1)
    own = wired(parallel) if packed(parallel) or strips else {}
    return {
        **own,
        "tp": parallel.tp, "cp": parallel.cp, "dp": parallel.dp, "pp": parallel.pp, "ep": parallel.ep,
        "etp": expert_width(parallel), "split": token_ranks(parallel), "routed": routed(parallel),
    }  # fmt: skip


def axes(parallel: Parallel) -> frozenset[str]:
    """What a layout needs of a graph's program beyond sums over tensor-parallel ranks: part of a plan's key."""
    found = set()
    if np.any(np.asarray(parallel.sp) > 0) and np.any(np.asarray(parallel.tp) > 1):
        found.add("sp")
    if np.any(routed(parallel)):
        found.add("experts")
    if np.any(np.asarray(parallel.cp) > 1):
        found.add(parallel.context)
    found |= {f"packed {sort}" for sort in packed(parallel)}
    return frozenset(found)


def _plain(value: np.ndarray) -> Value:
    return value if value.ndim else float(value)
