"""A prefix that all sequences have in common, read once for all of them (Hydragen, arXiv 2402.05099; FlashInfer, arXiv 2501.01005).

What is kept stays as it is: whether the prefix is stored once is a question of the cache's pages, not of the kernel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import maximum, minimum
from ..ir import Graph, Op
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("shared_prefix")
def shared_prefix(graph: Graph, share: float = 0.5, among: float = 0.0) -> Graph:
    """Attention reads a share of each cached context once instead of once a sequence.

    Args:
        share: of the cached tokens.
        among: so many sequences have it in common; 0 for all of a step's.
    """
    if not 0 <= share <= 1 or among < 0:
        raise BadInput(
            f"a shared prefix of {share:g} among {among:g}", expected="0 to 1 of the context; 0 or more sequences"
        )
    if share == 0:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.kind != "attention" or "seqs" not in op.dims or "shared_prefix" in op.attrs:
            return (op,)
        together = maximum(op.dims["seqs"], 1)
        part = 1 - share + share / (minimum(together, among) if among else together)
        reads = tuple(
            dataclasses.replace(r, elements=edit.touched(r) * part) if edit.tensor(r.tensor).cls == "kv" else r
            for r in op.reads
        )
        return (dataclasses.replace(op, reads=reads, attrs={**op.attrs, "shared_prefix": share}),)

    return edited(graph, visit)


__all__ = ["shared_prefix"]
