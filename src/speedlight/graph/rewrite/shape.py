"""A network of another shape: fewer layers, narrower parts of them, another vocabulary, wider channels."""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, ExprLike, const, sym
from ..ir import Block, Graph, Op, Tensor
from .registry import REWRITES
from .resized import graph_with


@REWRITES.register("sub_network")
def sub_network(graph: Graph, depth: float = 1.0, ffn: float = 1.0, heads: float = 1.0, experts: float = 1.0) -> Graph:
    """A part of a network of repeated layers: what once-for-all training and structured pruning keep of one.

    Args:
        depth: share of the repeated layers, of each sort rounded to whole ones.
        ffn: share of the feed-forward widths (of experts too).
        heads: share of the attention heads; of grouped ones their keys and values as far as whole groups fall.
        experts: share of the experts of every layer.

    Raises:
        BadInput: for a share outside 0–1, or 0.
    """
    for name, share in (("layers", depth), ("feed-forward width", ffn), ("heads", heads), ("experts", experts)):
        if not 0 < share <= 4:
            raise BadInput(f"{share:g} of the {name}", expected="above 0, up to 4 (a larger network)")
    shares = {"ffn": ffn, "expert_ffn": ffn, "heads": heads, "kv_heads": heads, "experts": experts}
    values: dict[str, ExprLike] = {}
    for name, dim in graph.dims.items():
        share = shares.get(dim.role, 1.0)
        whole = max(round(dim.size * share), 1)
        if whole != dim.size:
            values[name] = sym(name) * (whole / dim.size)
    found = graph_with(graph, values) if values else graph
    blocks = tuple(_fewer(block, depth) for block in found.blocks)
    if found is graph and all(a is b for a, b in zip(blocks, graph.blocks, strict=True)):
        return graph
    return found.replace(blocks=blocks)


def _fewer(block: Block, depth: float) -> Block:
    count = block.count.constant
    if block.phase != "forward" or count is None or count == 1 or not block.inputs:
        return block
    whole = max(round(count * depth), 1)
    if whole == count:
        return block
    layers = block.layers[:whole] if whole < count else block.layers
    return dataclasses.replace(block, count=const(whole), layers=layers)


@REWRITES.register("vocabulary")
def vocabulary(graph: Graph, size: int = 0, multiple: int = 1) -> Graph:
    """Tables and head of a language model for another number of words.

    Args:
        size: of the vocabulary; 0 for the model's own.
        multiple: rounded up to a multiple of it.
    """
    values: dict[str, ExprLike] = {}
    for name, dim in graph.dims.items():
        if dim.role == "vocab":
            wanted = -(-(size or dim.size) // multiple) * multiple
            if wanted != dim.size:
                values[name] = sym(name) * (wanted / dim.size)
    return graph_with(graph, values) if values else graph


@REWRITES.register("scaled_width")
def scaled_width(graph: Graph, width: float = 1.4142135623730951) -> Graph:
    """A captured network of images with so many times the channels: dense products grow with its square, all else with it.

    What enters and what the classifier puts out keep their sizes.
    """
    if not 0 < width <= 16:
        raise BadInput(f"{width:g} times the channels", expected="above 0, up to 16")
    if width == 1:
        return graph
    outside = {name for name, t in graph.shared.items() if t.cls in ("input", "constant")}
    last = set(graph.blocks[-1].outputs)
    blocks = []
    for block in graph.blocks:
        tensors = {n: t if n in last or t.cls == "input" else _sized(t, width) for n, t in block.tensors.items()}
        ops = []
        for op in block.ops:
            ends = sum(r.tensor in outside or graph.tensor(block, r.tensor).cls == "input" for r in op.reads[:1])
            ends += any(w.tensor in last for w in op.writes)
            grows = width if ends or _apart(op) else width * width
            if op.kind in ("conv", "matmul"):
                for read in op.reads[1:2]:
                    weight = tensors.get(read.tensor)
                    if weight is not None and weight.cls == "weight":
                        tensors[read.tensor] = _sized(block.tensors[read.tensor], grows)
            ops.append(_wider(op, width, grows, bool(ends)))
        blocks.append(dataclasses.replace(block, ops=tuple(ops), tensors=tensors))
    return graph.replace(blocks=tuple(blocks))


def _apart(op: Op) -> bool:
    """Each channel by itself: a depthwise convolution."""
    groups, channels = op.dims.get("groups"), op.dims.get("in_channels")
    return groups is not None and groups.constant != 1 and groups == channels


def _sized(tensor: Tensor, factor: float) -> Tensor:
    kept = tensor.persistent
    if kept is not None:
        kept = dataclasses.replace(kept, kept=kept.kept * factor)
    return dataclasses.replace(tensor, elements=tensor.elements * factor, persistent=kept)


def _wider(op: Op, width: float, grows: float, end: bool) -> Op:
    """One op with wider tensors: its products by ``grows``, its other work by the width."""
    product = op.kind in ("conv", "matmul")
    work = tuple(
        dataclasses.replace(w, flops=w.flops * (grows if product and w.unit == "matmul" else width)) for w in op.work
    )
    dims = dict(op.dims)
    if product:
        names = ("n", "out_channels") if end else ("n", "k", "in_channels", "out_channels")
        if _apart(op):
            names = ("n", "in_channels", "out_channels", "groups")
        dims |= {name: _whole(dims[name] * width) for name in names if name in dims}
    elif "width" in dims:
        dims["width"] = _whole(dims["width"] * width)

    def part(elements: Expr | None) -> Expr | None:
        return None if elements is None else elements * width

    reads = tuple(dataclasses.replace(r, elements=part(r.elements)) for r in op.reads)
    writes = tuple(dataclasses.replace(w, elements=part(w.elements)) for w in op.writes)
    return dataclasses.replace(op, work=work, dims=dims, reads=reads, writes=writes)


def _whole(size: Expr) -> Expr:
    number = size.constant
    return size if number is None else const(max(round(number), 1))


__all__ = ["scaled_width", "sub_network", "vocabulary"]
