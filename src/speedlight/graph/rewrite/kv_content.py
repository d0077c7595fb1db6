"""What of a token the KV cache holds: fewer heads, fewer dimensions, or nothing because another layer's is used.

* *heads*: keys and values of several query heads become one (grouped- and multi-query attention, arXiv 2305.13245);
* *width*: a token's keys and values are kept as a shorter vector (latent attention, arXiv 2405.04434; projections, arXiv 2410.14731);
* *shared*: a layer attends to another layer's cache (arXiv 2405.12981, 2410.18517): less is kept and computed, as much is read.
"""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..ir import Block, Graph, Op, Operand, Tensor
from .kv_tokens import cached_reads, has_cache
from .layers import in_layers
from .registry import REWRITES


@REWRITES.register("kv_heads")
def kv_heads(graph: Graph, heads: int = 1) -> Graph:
    """Keys and values of at most so many heads in every layer that has heads of them.

    Raises:
        BadInput: for a number that does not divide those there are.
    """
    have = {name: dim for name, dim in graph.dims.items() if dim.role == "kv_heads" and dim.size > heads}
    if not have:
        return graph
    if heads < 1 or any(dim.size % heads for dim in have.values()):
        raise BadInput(
            f"{heads} heads of keys and values", expected=f"a divisor of {max(d.size for d in have.values())}"
        )
    return graph.replace(dims={**graph.dims, **{n: dataclasses.replace(d, size=heads) for n, d in have.items()}})


@REWRITES.register("kv_width")
def kv_width(
    graph: Graph, kept: float = 1.0, read: float | None = None, products: float | None = None, layers: float = 1.0
) -> Graph:
    """A token's keys and values as a vector of a share of their width.

    Args:
        kept: share of the width that stays in the cache.
        read: share a step reads; as much as is kept by default.
        products: FLOPs of attention over those of the full width: as much as is read by default (attention in the narrow space,
            its projections folded into their neighbours); more than 1 where every head attends to one wide latent.
        layers: share of the layers it is done in.
    """
    if not 0 < kept <= 1:
        raise BadInput(f"{kept:g} of the width kept", expected="above 0, up to 1")
    wide = kept if read is None else read
    work = wide if products is None else products
    if kept == wide == work == 1:
        return graph
    return in_layers(graph, layers, has_cache, lambda g, b: _narrow(g, b, kept, wide, work))


def _narrow(graph: Graph, block: Block, kept: float, read: float, work: float) -> Block:
    tensors = {n: _of_width(t, kept) if t.cls == "kv" else t for n, t in block.tensors.items()}
    reading = cached_reads(graph, block)

    def operand(o: Operand, share: float) -> Operand:
        if o.elements is None or graph.tensor(block, o.tensor).cls != "kv":
            return o
        return dataclasses.replace(o, elements=o.elements * share)

    ops = []
    for op in block.ops:
        changed = dataclasses.replace(
            op, reads=tuple(operand(r, read) for r in op.reads), writes=tuple(operand(w, kept) for w in op.writes)
        )
        if op in reading:
            parts = tuple(
                dataclasses.replace(w, flops=w.flops * work, dense=None if w.dense is None else w.dense * work)
                if w.unit == "matmul" else w
                for w in op.work
            )  # fmt: skip
            dims = {k: e * read if k in ("qk_dim", "v_dim") else e for k, e in op.dims.items()}
            changed = dataclasses.replace(changed, work=parts, dims=dims)
        ops.append(changed)
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _of_width(tensor: Tensor, share: float) -> Tensor:
    assert tensor.persistent is not None
    size = tensor.persistent.kept * share
    return dataclasses.replace(tensor, elements=size, persistent=dataclasses.replace(tensor.persistent, kept=size))


@REWRITES.register("kv_shared")
def kv_shared(graph: Graph, layers: float = 0.5) -> Graph:
    """A share of the layers neither computes nor keeps keys and values: they attend to those of another layer.

    Latent attention stays as it is: what it caches is also what its queries are folded with.
    """
    return in_layers(graph, layers, _own_keys, _borrowed)


def _own_keys(graph: Graph, block: Block) -> bool:
    return any(op.fn == "sdpa" and _made(graph, block, op) for op in cached_reads(graph, block))


def _made(graph: Graph, block: Block, op: Op) -> set[str]:
    """New keys and values among an attention's operands: what is written to the cache too."""
    caches = {r.tensor for r in op.reads if graph.tensor(block, r.tensor).cls == "kv"}
    written = {r.tensor for other in block.ops for w in other.writes if w.tensor in caches for r in other.reads}
    return {r.tensor for r in op.reads} & written


def _borrowed(graph: Graph, block: Block) -> Block:
    caches = {name for name, t in block.tensors.items() if t.cls == "kv"}
    made = {name for op in cached_reads(graph, block) for name in _made(graph, block, op)}
    ops: list[Op] = []
    for op in block.ops:
        if any(w.tensor in caches for w in op.writes):
            continue
        if op in cached_reads(graph, block):
            reads = [r for r in op.reads if r.tensor not in made]
            reads = [_with_new(graph, block, r) if r.tensor in caches else r for r in reads]
            op = dataclasses.replace(op, reads=tuple(reads))
        ops.append(op)
    tensors = {n: _of_width(t, 0) if n in caches else t for n, t in block.tensors.items()}
    return _without_unread(dataclasses.replace(block, ops=tuple(ops), tensors=tensors))


def _with_new(graph: Graph, block: Block, cache: Operand) -> Operand:
    """The new tokens' keys and values come from the other layer's cache too."""
    assert cache.elements is not None
    writes = [w for op in block.ops for w in op.writes if w.tensor == cache.tensor and w.elements is not None]
    new = writes[0].elements if writes else None
    return cache if new is None else dataclasses.replace(cache, elements=cache.elements + new)


def _without_unread(block: Block) -> Block:
    """Without the ops whose results nobody reads any more, and the weights only they used."""
    wanted = set(block.outputs)
    ops: list[Op] = []
    for op in reversed(block.ops):
        if op.writes and not any(
            w.tensor in wanted or block.tensors[w.tensor].persistent for w in op.writes if w.tensor in block.tensors
        ):
            continue
        wanted.update(r.tensor for r in op.reads)
        wanted.update(w.tensor for w in op.writes)
        ops.append(op)
    used = wanted | set(block.inputs)
    return dataclasses.replace(
        block, ops=tuple(reversed(ops)), tensors={n: t for n, t in block.tensors.items() if n in used}
    )


__all__ = ["kv_heads", "kv_shared", "kv_width"]
