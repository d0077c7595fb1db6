"""Fewer tokens of the KV cache kept, read, or seen (DESIGN decision 10: capacity is not traffic).

* *kept*: evicted tokens are neither stored nor read afterwards (H2O, arXiv 2306.14048; SnapKV, arXiv 2404.14469);
* *read*: everything stays, attention reads the pages it picks by their summaries (Quest, arXiv 2406.10774);
* *seen*: a window with sinks, in the prompt too (StreamingLLM, arXiv 2309.17453; LongGen, arXiv 2410.01485).

Each puts ``min(cached, budget)`` in the place of ``cached`` where the block's ops, or what it keeps, are counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, ExprLike, const, group_sum, minimum, substitute, total, walk
from ..builder import CACHED, COUNT, NEW, causal_pairs
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from .layers import in_layers
from .registry import REWRITES

SPREAD_POINTS = 8  # layers of different budgets are summed at so many points of the line from the least to the greatest


def cached_reads(graph: Graph, block: Block) -> list[Op]:
    """Ops of a block that attend to a KV cache."""
    return [op for op in block.ops if op.kind == "attention" and any(_is_kv(graph, block, r) for r in op.reads)]


def has_cache(graph: Graph, block: Block) -> bool:
    """Whether a layer attends to a KV cache of its own or another's."""
    return bool(cached_reads(graph, block))


def _is_kv(graph: Graph, block: Block, operand: Operand) -> bool:
    return graph.tensor(block, operand.tensor).cls == "kv"


@REWRITES.register("kv_kept")
def kv_kept(
    graph: Graph, tokens: int = 0, share: float = 1.0, spread: float = 0.0, whole: float = 0.0, layers: float = 1.0
) -> Graph:  # fmt: skip
    """Only so many tokens of a sequence stay in the cache; prompts are still attended to in full before they are thinned.

    Args:
        tokens: budget of a layer; 0 for none.
        share: of the tokens instead, where ``tokens`` is 0.
        spread: layers' budgets run from (1 − spread) to (1 + spread) times the mean (pyramids, learnt budgets).
        whole: share of the heads that keep everything.
        layers: share of the layers it is done in.
    """
    _share(share, "kept tokens")
    if tokens < 0 or not 0 <= spread <= 1 or not 0 <= whole <= 1:
        raise BadInput(
            f"a budget of {tokens} tokens spread by {spread:g}, {whole:g} of the heads whole",
            expected="0 or more, spread by 0 to 1, 0 to 1 of the heads",
        )

    def fewer(many: Expr) -> Expr:
        return many * whole + thin(many) * (1 - whole)

    def thin(many: Expr) -> Expr:
        if not tokens:
            return many * share
        budgets = [tokens * (1 + spread * (2 * (i + 0.5) / SPREAD_POINTS - 1)) for i in range(SPREAD_POINTS)]
        return minimum(many, tokens) if not spread else total(minimum(many, b) for b in budgets) / SPREAD_POINTS

    if whole == 1 or (not tokens and share == 1):
        return graph
    return in_layers(graph, layers, has_cache, lambda g, b: _thinned(b, fewer))


def _thinned(block: Block, fewer: Callable[[Expr], Expr]) -> Block:
    cached, new = {"cached": fewer(CACHED)}, {"new": fewer(NEW)}
    tensors = {n: _sized(t, cached) for n, t in block.tensors.items()}
    tensors |= {n: _sized(t, new) for n, t in tensors.items() if t.cls == "kv"}
    return dataclasses.replace(block, ops=tuple(with_symbols(op, cached) for op in block.ops), tensors=tensors)


@REWRITES.register("kv_read")
def kv_read(
    graph: Graph, tokens: int = 0, share: float = 1.0, page: int = 16, summary: float | None = None, layers: float = 1.0,
    spread: bool = True,
) -> Graph:  # fmt: skip
    """Everything stays in the cache; a step reads the pages its query picks, after a look at every page's summary.

    Args:
        tokens: tokens read of a sequence and layer; 0 for none.
        share: of the cached tokens instead, where ``tokens`` is 0.
        page: tokens of a page; each is read whole, head by head.
        summary: bytes of all summaries over the cache's; by default a least and a greatest key of each page, 1/page. With 0
            nobody looks (a learnt pattern).
        layers: share of the layers it is done in.
        spread: pages lie apart (read at random); else they have been gathered side by side.
    """
    _share(share, "read tokens")
    if tokens < 0 or page < 1:
        raise BadInput(f"{tokens} tokens in pages of {page}", expected="0 tokens or more, pages of 1 or more")
    if not tokens and share == 1:
        return graph
    read = minimum(CACHED, tokens) if tokens else CACHED * share
    looked = 1 / page if summary is None else summary
    return in_layers(graph, layers, has_cache, lambda g, b: _picked(g, b, read, page, looked, spread))


def _picked(graph: Graph, block: Block, read: Expr, page: int, looked: float, spread: bool) -> Block:
    values = {"cached": read}
    tensors = {name: t if t.persistent else _sized(t, values) for name, t in block.tensors.items()}
    ops: list[Op] = []
    for op in block.ops:
        caches = [r for r in op.reads if _is_kv(graph, block, r)]
        if op.kind != "attention" or not caches:
            ops.append(with_symbols(op, values))
            continue
        whole = graph.tensor(block, caches[0].tensor)
        width = op.dims.get("qk_dim", const(1))
        if looked:
            ops.append(_look(op, caches[0], whole, looked, page, width, tensors))
        changed = with_symbols(op, values)
        granule = page * width
        reads = tuple(
            dataclasses.replace(r, access="random", granule=granule) if spread and r.tensor == caches[0].tensor else r
            for r in changed.reads
        )
        ops.append(dataclasses.replace(changed, reads=reads))
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def _look(
    op: Op, cache: Operand, kept: Tensor, looked: float, page: int, width: Expr, tensors: dict[str, Tensor]
) -> Op:  # fmt: skip
    """Queries against every page's summary: as wide as keys, one product for each bound."""
    assert kept.persistent is not None
    assert cache.elements is not None
    name, result = f"{op.name}.pages", f"{op.name}.pages.out"
    size = kept.persistent.kept * looked
    tensors[name] = Tensor(name, size, kept.dtype, "index", Persistent(size, "sequence"), needs_grad=False)
    heads = op.dims.get("heads", const(1))
    scores = group_sum(COUNT * NEW * CACHED) / page * heads
    tensors[result] = Tensor(result, scores, "fp32", needs_grad=False)
    return Op(
        name=name, kind="attention", fn="page_scores", path=op.path,
        reads=(op.reads[0], Operand(name, cache.elements * looked)), writes=(Operand(result),),
        work=(Work("matmul", 4 * scores * width, "bf16"), Work("vector", 4 * scores, "fp32")),
        attrs={"causal": False},
    )  # fmt: skip


@REWRITES.register("kv_window")
def kv_window(graph: Graph, window: int = 4096, layers: float = 1.0) -> Graph:
    """Layers see a window (sinks among it) instead of everything: prompts cost less, and no more than it is kept.

    Layers that see less already stay as they are.

    Args:
        window: tokens seen.
        layers: share of the layers it is done in.
    """
    if window < 1:
        raise BadInput(f"a window of {window}", expected="at least 1")
    return in_layers(graph, layers, _sees_all, lambda g, b: _windowed(g, b, window))


def _sees_all(graph: Graph, block: Block) -> bool:
    return any(not op.attrs.get("window") and not op.attrs.get("chunk") for op in cached_reads(graph, block))


def _windowed(graph: Graph, block: Block, window: int) -> Block:
    full, seen = causal_pairs(), causal_pairs(window)
    values = {"cached": minimum(CACHED, window - 1)}
    ops = []
    for op in block.ops:
        if op not in cached_reads(graph, block):
            ops.append(op)
            continue
        work = tuple(dataclasses.replace(w, flops=replaced(w.flops, full, seen)) for w in op.work)
        reads = tuple(
            r if r.elements is None else dataclasses.replace(r, elements=substitute(r.elements, values))
            for r in op.reads
        )
        dims = {k: substitute(e, values) for k, e in op.dims.items()}
        ops.append(dataclasses.replace(op, work=work, reads=reads, dims=dims, attrs={**op.attrs, "window": window}))
    everything, kept = CACHED + NEW, minimum(CACHED + NEW, window)
    tensors = dict(block.tensors)
    for name, tensor in tensors.items():
        if tensor.cls == "kv" and tensor.persistent is not None:
            size = replaced(tensor.persistent.kept, everything, kept)
            tensors[name] = dataclasses.replace(
                tensor, elements=size, persistent=dataclasses.replace(tensor.persistent, kept=size)
            )
    return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)


def replaced(expr: Expr, old: Expr, new: Expr) -> Expr:
    """An expression with one of its parts, wherever it stands, replaced by another."""
    made: dict[int, Expr] = {}
    for node in walk(expr):
        if node == old:
            made[id(node)] = new
        elif node.op in ("const", "sym"):
            made[id(node)] = node
        else:
            args = tuple(made[id(a)] for a in node.args)
            made[id(node)] = node if all(a is b for a, b in zip(args, node.args, strict=True)) else Expr(node.op, args)
    return made[id(expr)]


def with_symbols(op: Op, values: Mapping[str, ExprLike]) -> Op:
    """An op with symbols replaced in everything it states; the same object where it names none of them."""

    def put(expr: Expr) -> Expr:
        return substitute(expr, values)

    def operand(o: Operand) -> Operand:
        if o.elements is None or put(o.elements) is o.elements:
            return o
        return dataclasses.replace(o, elements=put(o.elements))

    work = tuple(
        dataclasses.replace(w, flops=put(w.flops), dense=None if w.dense is None else put(w.dense)) for w in op.work
    )
    return dataclasses.replace(
        op, work=work, reads=tuple(map(operand, op.reads)), writes=tuple(map(operand, op.writes)),
        dims={k: put(e) for k, e in op.dims.items()}, count=put(op.count), span=put(op.span),
    )  # fmt: skip


def _sized(tensor: Tensor, values: Mapping[str, ExprLike]) -> Tensor:
    """A tensor with symbols replaced in its size and in what is kept of it."""
    elements = substitute(tensor.elements, values)
    if tensor.persistent is None:
        return dataclasses.replace(tensor, elements=elements)
    kept = dataclasses.replace(tensor.persistent, kept=substitute(tensor.persistent.kept, values))
    return dataclasses.replace(tensor, elements=elements, persistent=kept)


def _share(share: float, what: str) -> None:
    if not 0 < share <= 1:
        raise BadInput(f"{what}: a share of {share:g}", expected="above 0, up to 1")


__all__ = ["cached_reads", "has_cache", "kv_kept", "kv_read", "kv_window", "replaced", "with_symbols"]
