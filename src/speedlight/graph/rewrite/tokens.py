"""Fewer tokens in some layers: dropped on the way (``thinned_tokens``), passing by (``passing_tokens``), leaving (``leaving_tokens``).

Each puts its own token counts in the place of a layer's; what a layer's weights cost to read stays. Where tokens decide one by
one whether a layer runs for them, a layer that no token of the step wants does not run at all: with a share s of T tokens, it
runs with probability 1 − (1 − s)^T, on s·T / that many tokens when it does.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, ExprLike, as_expr, const, ge, group_sum, where
from ..builder import CACHED, COUNT, NEW, SEQS, TOKENS
from ..ir import Block, Graph, Op, Operand, Tensor, Work, named_apart
from .captured_tokens import attending_layers, thinned_layers
from .registry import REWRITES, remodel
from .resized import block_with, in_last, in_turns, op_with, token_layers, without_unread

METRIC = 64  # width of the keys, averaged over heads, by which tokens are matched


@remodel("thinned_tokens")
def thinned_tokens(graph: Graph, shares: Sequence[float] = (0.5,), match: bool = False) -> Graph:
    """Tokens merged or dropped for good: the layers behind see a share of them, and cache no others.

    The last token of each sequence (a classifier's, the one that is answered) always stays, so a step of one new token a sequence
    changes by its shorter cache only.

    Args:
        shares: of the tokens, in equal parts of the stack of layers, first to last.
        match: where tokens become fewer, half of them are scored against the other half to find the pairs to merge (ToMe,
            arXiv 2210.09461 §3); else they are dropped by scores that attention has made already.
    """
    _shares(shares)
    if all(s == 1 for s in shares):
        return graph
    if attending_layers(graph):
        return thinned_layers(graph, shares, match)
    first = {s: i for i, s in reversed(list(enumerate(shares)))}

    def change(block: Block, share: float) -> Block:
        if share == 1:
            return block
        thin = block_with(block, thinned(share))
        before = shares[first[share] - 1] if first[share] else 1.0
        return _matched(block, thin, before) if match and share < before else thin

    return in_turns(graph, shares, change)


def thinned(share: ExprLike) -> dict[str, ExprLike]:
    """A share of every sequence's tokens but the last."""
    return {"tokens": SEQS + (TOKENS - SEQS) * share, "new": 1 + (NEW - 1) * share, "cached": CACHED * share}


def _matched(whole: Block, thin: Block, before: float) -> Block:
    """Thinned layers of which the first scores half of its tokens against the other half and adds up the best pairs."""
    source = whole.inputs[0]
    x = whole.tensors[source]
    per_token = x.elements / TOKENS
    counts = {name: as_expr(e) for name, e in thinned(before).items()}
    tokens, pairs = counts["tokens"], group_sum(COUNT * counts["new"] * counts["new"]) / 4
    once = where(ge(SEQS, TOKENS), 0, 1) / whole.count  # one of the fold's layers merges, and only prompts
    name = "merge.scores"
    scores = Tensor(f"{name}.out", pairs, x.dtype)
    ops = [
        Op(
            name=name, kind="matmul", fn="bmm", path="merge", reads=(Operand(source, tokens * METRIC),), writes=(Operand(scores.name),),
            work=(Work("matmul", 2 * pairs * METRIC, x.dtype),),
            dims={"m": tokens / SEQS / 2, "n": tokens / SEQS / 2, "k": const(METRIC), "batch": SEQS},
        ),
        Op(name="merge.pick", kind="sort", fn="topk", path="merge", reads=(Operand(scores.name),), work=(Work("vector", pairs * 2, "fp32"),)),
        Op(
            name="merge.add", kind="gather", fn="scatter_add", path="merge",
            reads=(Operand(source, tokens * per_token, "random", per_token),), writes=(Operand(source),),
            work=(Work("vector", tokens * per_token / 2, "fp32"),),
        ),
    ]  # fmt: skip
    return dataclasses.replace(
        thin, ops=(*(dataclasses.replace(op, count=once) for op in ops), *thin.ops), tensors={**thin.tensors, scores.name: scores}
    )  # fmt: skip


@remodel("passing_tokens")
def passing_tokens(graph: Graph, share: float = 0.5, layers: float = 1.0, of: str = "layer") -> Graph:
    """In some layers only a share of the tokens takes part; the others pass by unchanged and leave no keys there.

    Args:
        share: of the tokens that take part (capacity); what its router costs, a product of width 1, is left out.
        layers: share of the layers that have a router; they are the last of the stack.
        of: ``layer``: all of it; ``attention``: only the mixer, the feed-forward part sees all tokens.
    """
    _shares((share, layers))
    if of not in ("layer", "attention"):
        raise BadInput(f"tokens pass {of!r} by", expected="layer or attention")
    if share == 1:
        return graph
    return in_last(graph, layers, lambda block: _passed(block, share, of))


def _passed(block: Block, share: float, of: str) -> Block:
    counts, runs = deciding(share, cached=True)
    mixer = {t for op in block.ops if op.kind in ("attention", "scan") for t in [w.tensor for w in op.writes]}
    end = max(
        (i for i, op in enumerate(block.ops) if any(r.tensor in mixer for r in op.reads)), default=len(block.ops) - 1
    )
    reach = len(block.ops) if of == "layer" else end + 2  # with the sum that adds the mixer's result to all tokens
    ops = tuple(_perhaps(op, counts, runs) if i < reach else op for i, op in enumerate(block.ops))
    inside = (
        {w.tensor for op in ops[:reach] for w in op.writes}
        - {w.tensor for w in ops[reach - 1].writes}
        - set(block.outputs)
    )
    tensors = {}
    changed = block_with(block, counts).tensors
    for name, tensor in block.tensors.items():
        tensors[name] = changed[name] if name in inside or tensor.cls in ("kv", "state") else tensor
    return dataclasses.replace(block, ops=ops, tensors=tensors)


@remodel("leaving_tokens")
def leaving_tokens(graph: Graph, shares: Sequence[float] = (1.0, 0.5)) -> Graph:
    """Early exit: so many of the tokens are still on their way in each part of the stack of layers.

    A token that left hands its last state on, from which later layers' keys and values are made when they are wanted
    (CALM, arXiv 2207.07061 §3.2): caches stay whole.

    Args:
        shares: of the tokens, in equal parts of the stack, first to last; may not rise.
    """
    _shares(shares)
    if any(b > a for a, b in itertools.pairwise(shares)):
        raise BadInput("tokens come back after they left", expected="shares that do not rise")
    if all(s == 1 for s in shares):
        return graph

    def change(block: Block, share: float) -> Block:
        if share == 1:
            return block
        counts, runs = deciding(share, cached=False)
        kept = {n: t for n, t in block.tensors.items() if t.cls in ("kv", "state")}
        tensors = {**block_with(block, counts).tensors, **kept}
        return dataclasses.replace(block, ops=tuple(_perhaps(op, counts, runs) for op in block.ops), tensors=tensors)

    return in_turns(graph, shares, change)


def deciding(share: float, *, cached: bool) -> tuple[dict[str, ExprLike], Expr]:
    """(counts of the tokens that take part in a layer when it runs, the probability that it does).

    Args:
        cached: keys of tokens that did not take part are missing too.
    """
    if share == 0:
        return {}, const(0)
    runs = 1 - const(1 - share) ** TOKENS
    many = share / runs
    single = ge(2, NEW + 1)  # one new token a sequence: sequences take part or not
    counts: dict[str, ExprLike] = {
        "tokens": TOKENS * many, "seqs": where(ge(SEQS, TOKENS), SEQS * many, SEQS),
        "count": where(single, COUNT * many, COUNT), "new": where(single, NEW, NEW * many),
    }  # fmt: skip
    if cached:
        counts["cached"] = CACHED * share
    return counts, runs


def _perhaps(op: Op, counts: dict[str, ExprLike], runs: Expr) -> Op:
    changed = op_with(op, counts)
    return dataclasses.replace(changed, count=changed.count * runs)


@REWRITES.register("fused_before")
def fused_before(graph: Graph, layers: int = 4) -> Graph:
    """A vision-language model whose text first takes up what its pictures say: so many more layers, like its own, over the
    pictures' tokens and the prompt's; they run once, with the prompt, and keep no cache (LLaVA-Mini, arXiv 2501.03895).

    Args:
        layers: that fuse; 0 for none.
    """
    length = graph.attrs.get("length")
    chosen = token_layers(graph)
    if layers < 0:
        raise BadInput(f"{layers} layers fuse", expected="0 or more")
    if not layers or length is None or not chosen or graph.attrs.get("fused"):
        return graph
    prompts = where(ge(CACHED, 0.5), 0, 1)
    many = group_sum(COUNT * prompts * (NEW + length))
    values: dict[str, ExprLike] = {
        "tokens": many, "seqs": group_sum(COUNT * prompts), "new": prompts * (NEW + length), "cached": 0, "caching": 0,
    }  # fmt: skip
    like = block_with(chosen[0], values)
    ops = tuple(
        dataclasses.replace(op, count=op.count * where(ge(SEQS, TOKENS), 0, 1)) for op in like.ops if op.fn != "kv_write"
    )  # fmt: skip
    made = dataclasses.replace(like, name="fusion", ops=ops, count=const(layers), layers=())
    place = next(i for i, b in enumerate(graph.blocks) if b.name == chosen[0].name)
    blocks = (*graph.blocks[:place], made, *graph.blocks[place:])
    return without_unread(graph.replace(blocks=tuple(named_apart(blocks)), attrs={**graph.attrs, "fused": layers}))


def _shares(shares: Sequence[float]) -> None:
    if not shares or any(not (0 <= s <= 1) or math.isnan(s) for s in shares):
        raise BadInput(f"shares {list(shares)} of the tokens", expected="each 0 to 1")


__all__ = ["fused_before", "leaving_tokens", "passing_tokens", "thinned_tokens"]
