"""A training graph over what a rank's layout leaves it: its share of the update, the layers it computes again.

``updated`` and ``updated_experts`` are the shares of the model's (tensor-parallel rank's) parameters whose optimizer step a
rank runs, after pipeline stages and ZeRO shards; ``again`` is the share of layers whose forward pass runs again in the
backward pass. All are symbols, so that one program serves every layout.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from .._foundation.expr import Expr, sym
from ..graph.ir import Block, Graph, Op, Operand, Tensor


@lru_cache(maxsize=64)
def for_ranks(graph: Graph) -> Graph:
    """The graph with those symbols in it; it must be differentiated."""
    return graph.replace(
        blocks=tuple(
            _update(b) if b.phase == "optimizer" else _again(b) if b.phase == "backward" else b for b in graph.blocks
        )
    )


def _again(block: Block) -> Block:
    def asked(op: Op) -> Op:
        return dataclasses.replace(op, count=op.count * sym("again")) if op.attrs.get("recompute") else op

    return dataclasses.replace(block, ops=tuple(asked(op) for op in block.ops))


def _update(block: Block) -> Block:
    """The ops work on the rank's share; what the states take of memory is added up apart, shard by shard."""

    def share(name: str) -> Expr:
        return sym("updated_experts" if name.endswith(".experts") else "updated")

    def tensor(t: Tensor) -> Tensor:
        return dataclasses.replace(t, elements=t.elements * share(t.name))

    def op(o: Op) -> Op:
        part = share(o.name)

        def operand(x: Operand) -> Operand:
            return x if x.elements is None else dataclasses.replace(x, elements=x.elements * part)

        work = tuple(dataclasses.replace(w, flops=w.flops * part) for w in o.work)
        return dataclasses.replace(
            o, work=work, reads=tuple(map(operand, o.reads)), writes=tuple(map(operand, o.writes)),
            dims={k: v * part for k, v in o.dims.items()},
        )  # fmt: skip

    return dataclasses.replace(
        block, ops=tuple(map(op, block.ops)), tensors={name: tensor(t) for name, t in block.tensors.items()}
    )
