"""What the backward pass computes again instead of keeping (activation checkpointing).

*full*: of a layer only its input is kept; its backward pass begins with its forward ops (Chen et al., arXiv 1604.06174).
*selective*: the core of attention written out as separate ops (scores, mask, softmax, dropout) is computed again, since
it is large and cheap (Korthikanti et al., arXiv 2205.05198 section 5). Fused attention keeps no scores and computes them
again anyway, so it has nothing to drop.
*operators*: of a layer its input, the result of attention and of every other matrix product are kept, everything else is computed
again (torchtitan's selective checkpointing by operator, torchtitan/parallelisms/parallelize_llama.py: ``_save_list``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from ..ir import Block, Graph, Op

_BETWEEN = ("elementwise", "copy", "softmax", "reduction")


def attention_core(block: Block) -> list[Op]:
    """Ops from the scores to what multiplies the values, in order."""
    producers = {w.tensor: op for op in block.ops for w in op.writes}
    readers: dict[str, list[Op]] = {}
    for op in block.ops:
        for read in op.reads:
            readers.setdefault(read.tensor, []).append(op)
    chosen: set[str] = set()
    for op in block.ops:
        if op.kind == "softmax" and op.fn == "softmax":
            before, scores = _up(op, producers)
            after, product = _down(op, readers)
            if scores is not None and product is not None:
                chosen |= {o.name for o in (*before, scores, op, *after)}
    return [op for op in block.ops if op.name in chosen]


def _up(op: Op, producers: dict[str, Op]) -> tuple[list[Op], Op | None]:
    """Streaming ops back to the product that made the scores."""
    found: list[Op] = []
    current = op
    for _ in range(8):
        made = [producers[r.tensor] for r in current.reads if r.tensor in producers]
        product = next((o for o in made if o.kind == "matmul" and o.fn == "bmm"), None)
        if product is not None:
            return found, product
        before = next((o for o in made if o.kind in _BETWEEN), None)
        if before is None:
            return [], None
        found.append(before)
        current = before
    return [], None


def _down(op: Op, readers: dict[str, list[Op]]) -> tuple[list[Op], Op | None]:
    found: list[Op] = []
    current = op
    for _ in range(8):
        users = [o for w in current.writes for o in readers.get(w.tensor, [])]
        product = next((o for o in users if o.kind == "matmul" and o.fn == "bmm"), None)
        if product is not None:
            return found, product
        after = next((o for o in users if o.kind in _BETWEEN), None)
        if after is None:
            return [], None
        found.append(after)
        current = after
    return [], None


def operators(block: Block) -> list[Op]:
    """All ops but attention and every other matrix product, beginning with the first."""
    products = [op.name for op in block.ops if op.kind == "matmul"]
    kept = {*products[::2], *(op.name for op in block.ops if op.kind == "attention")}
    return [op for op in block.ops if op.name not in kept]


def again(graph: Graph, block: Block, ops: Collection[Op]) -> list[Op]:
    """The forward ops as the first ops of the backward pass; what only fills caches is not run again."""
    made = []
    for op in ops:
        if any(graph.tensor(block, w.tensor).cls == "activation" for w in op.writes):
            attrs = {**op.attrs, "recompute": True}  # such FLOPs count for HFU, not for MFU
            made.append(dataclasses.replace(op, name=f"recompute.{op.name}", phase="backward", attrs=attrs))
    return made
