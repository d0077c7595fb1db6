"""Narrower layers: fewer heads, neurons or channels, and blocks of weights that are left out whole."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr
from ..ir import Block, Dim, Graph, Op, Operand, Persistent, Tensor, Work
from .edit import Edit, edited
from .held import as_it_was, chosen, matrix_of
from .registry import remodel


def _share(value: float, most: float = 1.0) -> float:
    if not 0 < value <= most:
        raise BadInput(f"{value!r} of a layer", expected=f"a share above 0, up to {most:g}")
    return value


@remodel("narrowed")
def narrowed(graph: Graph, heads: float = 1.0, ffn: float = 1.0) -> Graph:
    """A transformer with fewer heads and fewer neurons, to the nearest whole one.

    Args:
        heads: share of the key-value heads that stay, each with its query heads.
        ffn: share of the neurons of feed-forward layers and of experts that stay.

    Raises:
        BadInput: for shares outside 0 … 1, and for graphs that name no such dimensions.
    """
    shares = {"heads": _share(heads), "kv_heads": heads, "ffn": _share(ffn), "expert_ffn": ffn}
    if not any(d.role in shares for d in graph.dims.values()):
        raise BadInput(f"{graph.name} names no heads and no neurons", expected="a transformer's configuration")
    groups = [d.size for d in graph.dims.values() if d.role == "kv_heads"]
    if groups and heads < 1:  # query heads go with their keys and values
        shares["heads"] = shares["kv_heads"] = max(1, round(heads * min(groups))) / min(groups)
    dims = {name: _smaller(dim, shares.get(dim.role, 1.0)) for name, dim in graph.dims.items()}
    return graph if dims == dict(graph.dims) else graph.replace(dims=dims)


def _smaller(dim: Dim, share: float) -> Dim:
    return dataclasses.replace(dim, size=max(1, round(dim.size * share))) if share < 1 else dim


@remodel("kept_blocks")
def kept_blocks(graph: Graph, share: float = 0.5, of: str = "") -> Graph:
    """Blocks of each layer's weights left out whole: bytes and products in proportion, the outputs as many as before.

    A kernel walks the blocks that are left, so the inner dimension is as much shorter on average.

    Args:
        share: of the blocks that stay.
        of: which layers, as comma-separated patterns; all but the head by default.
    """
    if _share(share) == 1:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        position = matrix_of(graph, edit.block, op)
        held = None if position is None else as_it_was(edit, op.reads[position].tensor)
        if held is None or not chosen(op, of):
            return (op,)
        elements = held.elements * share
        edit.tensors[held.name] = dataclasses.replace(held, elements=elements, persistent=Persistent(elements))
        reads = tuple(_of(r, share) if i == position else r for i, r in enumerate(op.reads))
        dims = {**op.dims, "k": op.dims["k"] * share} if "k" in op.dims else op.dims
        return (dataclasses.replace(op, reads=reads, work=tuple(_less(w, share, 1.0) for w in op.work), dims=dims),)

    return edited(graph, visit, lambda b: b.phase == "forward")


def _of(read: Operand, share: float) -> Operand:
    return read if read.elements is None else dataclasses.replace(read, elements=read.elements * share)


def _less(work: Work, product: float, vector: float) -> Work:
    factor = product if work.unit == "matmul" else vector
    return dataclasses.replace(
        work, flops=work.flops * factor, dense=None if work.dense is None else work.dense * factor
    )


@remodel("fewer_channels")
def fewer_channels(graph: Graph, share: float = 0.5) -> Graph:
    """A convolutional network with so many of its channels everywhere: activations go with the share, products with its square.

    What the network is given and what it returns stay as they are.

    Args:
        share: of the channels that stay; above 1 for a wider network.

    Raises:
        BadInput: for a model without convolutions.
    """
    if _share(share, 16.0) == 1:
        return graph
    if graph.attrs.get("kind") != "module" or not any(op.kind == "conv" for _, op in graph.ops()):
        raise BadInput(f"{graph.name} is no convolutional network", expected="an image model")
    last = set(graph.blocks[-1].outputs)
    blocks = tuple(_slim(graph, b, share, last if b is graph.blocks[-1] else set()) for b in graph.blocks)
    return graph.replace(blocks=blocks)


def _slim(graph: Graph, block: Block, share: float, ends: set[str]) -> Block:
    tensors: dict[str, Tensor] = {
        n: _shrunk(t, share) if t.cls in ("activation", "constant") and n not in ends else t
        for n, t in block.tensors.items()
    }
    ops = []
    for op in block.ops:
        position = matrix_of(graph, block, op)
        from_input = any(graph.tensor(block, r.tensor).cls == "input" for r in op.reads)
        to_end = any(w.tensor in ends for w in op.writes)
        depthwise = "groups" in op.dims and op.dims["groups"].constant not in (None, 1)
        inner = 1.0 if from_input or depthwise else share
        outer = 1.0 if to_end else share
        for i, read in enumerate(op.reads):
            if read.tensor in block.tensors and block.tensors[read.tensor].cls == "weight":
                factor = inner * outer if i == position else outer
                tensors[read.tensor] = _shrunk(block.tensors[read.tensor], factor)
        ops.append(dataclasses.replace(
            op, work=tuple(_less(w, inner * outer if position is not None else share * share, outer) for w in op.work),
            reads=tuple(_of(r, 1.0 if from_input else share) for r in op.reads),
            writes=tuple(_of(w, outer) for w in op.writes), dims=_dims(op.dims, inner, outer, depthwise),
        ))  # fmt: skip
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _shrunk(tensor: Tensor, share: float) -> Tensor:
    kept = tensor.persistent and dataclasses.replace(tensor.persistent, kept=tensor.persistent.kept * share)
    return dataclasses.replace(tensor, elements=tensor.elements * share, persistent=kept)


def _dims(dims: Mapping[str, Expr], inner: float, outer: float, depthwise: bool) -> dict[str, Expr]:
    factors = {"n": outer, "out_channels": outer, "channels": outer, "width": outer, "k": inner, "in_channels": inner}
    if depthwise:
        factors |= {"n": 1.0, "in_channels": outer, "groups": outer}
    return {name: size * factors.get(name, 1.0) for name, size in dims.items()}
