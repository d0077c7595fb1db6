"""Heads beside a model's own that guess the tokens after the next (Medusa, arXiv 2401.10774 §2.1)."""

from __future__ import annotations

import dataclasses

from ..._foundation.errors import BadInput
from ..builder import BlockBuilder
from ..ir import Block, Graph, Op, Operand
from .registry import REWRITES


@REWRITES.register("draft_heads")
def draft_heads(graph: Graph, heads: int = 4) -> Graph:
    """Each head: a linear layer of the model's width with SiLU and a residual sum, then a vocabulary projection of its own.

    A graph that has some already, or no vocabulary projection, stays as it is.

    Args:
        heads: how many.
    """
    if heads < 1:
        raise BadInput(f"{heads} draft heads", expected="at least 1")
    if graph.attrs.get("draft_heads"):
        return graph
    blocks = []
    for block in graph.blocks:
        projection = next(
            (op for op in block.ops if op.fn == "linear" and op.name.rpartition(".")[2] == "lm_head"), None
        )
        blocks.append(block if projection is None else _beside(graph, block, projection, heads))
    if all(a is b for a, b in zip(blocks, graph.blocks, strict=True)):
        return graph
    return graph.replace(blocks=tuple(blocks), attrs={**graph.attrs, "draft_heads": heads})


def _beside(graph: Graph, block: Block, projection: Op, heads: int) -> Block:
    source, dtype = projection.reads[0], graph.tensor(block, projection.reads[0].tensor).dtype
    made = BlockBuilder(block.name, projection.path.rpartition(".")[0], dtype)
    m, n, k = (projection.dims[name] for name in ("m", "n", "k"))
    made.tensors[source.tensor] = graph.tensor(block, source.tensor)
    for head in range(heads):
        hidden = made.linear(f"draft_head_{head + 1}.proj", source.tensor, k, k, rows=m)
        act = made.elementwise(f"draft_head_{head + 1}.act", "silu", [hidden], m * k)
        summed = made.elementwise(f"draft_head_{head + 1}.sum", "add", [act, Operand(source.tensor, m * k)], m * k)
        made.linear(f"draft_head_{head + 1}.head", summed, n, k, rows=m)
    at = block.ops.index(projection)
    ops = (*block.ops[: at + 1], *made.ops, *block.ops[at + 1 :])
    return dataclasses.replace(block, ops=ops, tensors={**made.tensors, **block.tensors})


__all__ = ["draft_heads"]
