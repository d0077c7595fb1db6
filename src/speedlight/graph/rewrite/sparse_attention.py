"""Attention that looks at a part of its keys: whole blocks of the score matrix are left out.

A kernel made for it (FlexAttention, arXiv 2412.05496; neighbourhood attention, arXiv 2403.04690) skips the blocks and reads every
key and value as before: some query of a tile wants it. What a step decodes on top of a cache stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const, ge, maximum, minimum, where
from ..builder import SEQS, TOKENS
from ..ir import Graph, Op
from .edit import Edit, edited
from .registry import REWRITES


@REWRITES.register("sparse_attention")
def sparse_attention(graph: Graph, keep: float = 1.0, window: int = 0) -> Graph:
    """Of the query·key pairs of prompts, images and training a share is computed.

    Args:
        keep: share of the unmasked pairs.
        window: keys around each query that are seen, instead of a share, where no causal mask is; 0 for none.
    """
    if not 0 < keep <= 1 or window < 0:
        raise BadInput(f"a share of {keep:g}, a window of {window}", expected="above 0 and up to 1; 0 keys or more")
    if keep == 1 and not window:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        if op.fn != "sdpa" or "sparse" in op.attrs or (window and op.attrs.get("causal")):
            return (op,)
        share = _share(op, keep, window)
        work = tuple(dataclasses.replace(w, flops=w.flops * share) for w in op.work)
        attrs = {"sparse": True} if window else {"sparse": True, "density": keep}
        return (dataclasses.replace(op, work=work, attrs={**op.attrs, **attrs}),)

    return edited(graph, visit)


def _share(op: Op, keep: float, window: int) -> Expr:
    if window:
        return minimum(1, window * op.dims["seqs"] / maximum(op.dims["keys"], 1))
    if {"rows", "seqs"} <= set(op.dims) and op.dims["seqs"] == SEQS:
        return where(ge(TOKENS, 2 * SEQS), keep, 1)  # one new token a sequence looks at everything
    return const(keep)


__all__ = ["sparse_attention"]
