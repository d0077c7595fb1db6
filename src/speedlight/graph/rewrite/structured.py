"""Layers of another kind in the place of a transformer's: product-key memories, Monarch products, fewer attention matrices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, ExprLike, as_expr, const, group_sum, sym
from ..builder import COUNT, NEW, SEQS, TOKENS
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from .registry import REWRITES
from .resized import block_with, in_last, token_layers, without_unread


class _Writer:
    """Ops written one after the other in a block, with the tensors they need."""

    def __init__(self, block: Block, like: Op) -> None:
        self.tensors = dict(block.tensors)
        self.dtype = block.tensors[like.writes[0].tensor].dtype
        self.path = like.path
        self.ops: list[Op] = []

    def weight(self, name: str, elements: ExprLike) -> str:
        size = as_expr(elements)
        self.tensors[name] = Tensor(name, size, self.dtype, "weight", Persistent(size))
        return name

    def op(self, name: str, kind: str, fn: str, reads: Iterable[Operand], size: ExprLike, work: tuple[Work, ...] = (), *,
           into: str = "", **fields: object) -> str:  # fmt: skip
        """An op with a result of that size, or into a tensor that exists."""
        out = into or f"{name}.out"
        if not into:
            self.tensors[out] = Tensor(out, as_expr(size), self.dtype)
        self.ops.append(
            Op(
                name=name,
                kind=kind,
                fn=fn,
                path=self.path,
                reads=tuple(reads),
                writes=(Operand(out),),
                work=work,
                **fields,  # type: ignore[arg-type]
            )
        )
        return out

    def linear(self, name: str, x: Operand, n: ExprLike, k: ExprLike, *, parts: int = 1, into: str = "") -> str:
        """y = W·x for every token; of ``parts`` blocks along the diagonal."""
        n, k = as_expr(n), as_expr(k)
        weight = self.weight(f"{name}.weight", n * k / parts)
        return self.op(
            name, "matmul", "linear" if parts == 1 else "bmm", (x, Operand(weight)), TOKENS * n,
            (Work("matmul", 2 * TOKENS * n * k / parts, self.dtype),), into=into,
            dims={"m": TOKENS, "n": n / parts, "k": k / parts, "batch": const(parts)},
        )  # fmt: skip


def _feed_forward(block: Block) -> list[int]:
    """Positions of the ops of a layer's feed-forward part: from its first product to what the layer's last sum reads of it.

    Empty where the rest of the layer reads something else of it too.
    """
    mixer = [i for i, op in enumerate(block.ops) if op.kind in ("attention", "scan")]
    after = [i for i, op in enumerate(block.ops) if op.kind in ("matmul", "moe") and (not mixer or i > mixer[-1])]
    sums = [i for i, op in enumerate(block.ops) if op.fn == "add"]
    if len(after) < 2 or not sums or sums[-1] < after[-1]:
        return []
    first = after[1] if mixer else after[0]  # the first product behind attention puts its heads together
    makers = {w.tensor: i for i, op in enumerate(block.ops[: sums[-1]]) for w in op.writes}
    last = max((makers.get(r.tensor, -1) for r in block.ops[sums[-1]].reads), default=-1)
    if last < after[-1]:
        return []
    places = list(range(first, last + 1))
    result = block.ops[last].writes[0].tensor
    inside = {w.tensor for i in places for w in block.ops[i].writes} - {result}
    rest = {r.tensor for i, op in enumerate(block.ops) if i not in places for r in op.reads} | set(block.outputs)
    return [] if inside & rest else places


@REWRITES.register("product_key_memory")
def product_key_memory(
    graph: Graph,
    slots: int = 1_048_576,
    heads: int = 4,
    picks: int = 32,
    key: int = 256,
    layers: float = 0.25,
    expert: bool = False,
) -> Graph:
    """Feed-forward parts of some layers replaced by a table of learned rows, found by products of two half keys.

    Each head scores √slots half keys twice and reads its best rows: FLOPs grow with √slots, bytes kept with slots, bytes read
    with heads · picks (product keys, arXiv 1907.05242 §3.1; memory layers, arXiv 2412.09764 §2; a million experts, arXiv 2407.04153 §2).

    Args:
        slots: rows of the table of each of these layers.
        heads: queries of a token, each with its own half keys.
        picks: rows that each query reads.
        key: width of a query.
        layers: share of the layers, the last ones of the stack.
        expert: a row is an expert of one neuron, with a weight down and one up; else a value that is added.
    """
    if slots < 4 or min(heads, picks, key) < 1 or not 0 <= layers <= 1:
        raise BadInput(
            f"a memory of {slots} rows, {heads} heads, {picks} picks", expected="at least 4 rows, 1 head, 1 pick"
        )
    chosen = [b for b in token_layers(graph) if _feed_forward(b)]
    if not chosen:
        return graph

    def change(block: Block) -> Block:
        places = _feed_forward(block)
        return _remembering(block, places, slots, heads, picks, key, expert) if places else block

    changed = in_last(graph, layers, change)
    return graph if changed is graph else without_unread(changed)


def _remembering(block: Block, places: list[int], slots: int, heads: int, picks: int, key: int, expert: bool) -> Block:
    first, last = block.ops[places[0]], block.ops[places[-1]]
    width = first.dims["k"]
    halves = math.isqrt(slots - 1) + 1
    w = _Writer(block, last)
    query = w.linear("memory.query", first.reads[0], heads * key, width)
    keys = w.weight("memory.keys", 2 * heads * halves * (key // 2))
    scores = w.op(
        "memory.scores", "matmul", "bmm", (Operand(query), Operand(keys)), TOKENS * heads * 2 * halves,
        (Work("matmul", 2 * TOKENS * heads * 2 * halves * (key // 2), w.dtype),),
        dims={"m": TOKENS, "n": const(halves), "k": const(key // 2), "batch": const(2 * heads)},
    )  # fmt: skip
    chosen = w.op(
        "memory.pick", "sort", "topk", (Operand(scores),), TOKENS * heads * picks,
        (Work("vector", TOKENS * heads * (2 * halves + picks * picks), "fp32"),),
    )  # fmt: skip
    rows = TOKENS * heads * picks
    tables = ("down", "up") if expert else ("values",)
    read = [Operand(w.weight(f"memory.{name}", slots * width), rows * width, "random", width) for name in tables]
    w.op(
        "memory.read", "gather", "embedding_bag", (Operand(chosen), first.reads[0], *read), TOKENS * width,
        (Work("vector", 2 * rows * width * len(tables), "fp32"),), into=last.writes[0].tensor,
    )  # fmt: skip
    ops = (*block.ops[: places[0]], *w.ops, *block.ops[places[-1] + 1 :])
    return dataclasses.replace(block, ops=ops, tensors=w.tensors)


@REWRITES.register("monarch")
def monarch(graph: Graph, blocks: int = 4, mixer: bool = True) -> Graph:
    """Attention as a long convolution made of Monarch products, feed-forward weights as blocks along the diagonal.

    A convolution over N positions is a transform, a product by element and the transform back; each transform two products with
    √N × √N matrices (arXiv 2310.12109 §3). The projections around it stay dense.

    Args:
        blocks: along the diagonal of each feed-forward weight.
        mixer: attention is replaced too.
    """
    if blocks < 1:
        raise BadInput(f"{blocks} blocks", expected="at least 1")

    def change(block: Block) -> Block:
        ops: list[Op] = []
        feed = set(_feed_forward(block))
        tensors = dict(block.tensors)
        for i, op in enumerate(block.ops):
            if op.kind == "attention" and mixer:
                ops += _convolved(op, block, tensors)
            elif i in feed and op.fn == "linear":
                ops.append(_diagonal(op, tensors, blocks))
            else:
                ops.append(op)
        return dataclasses.replace(block, ops=tuple(ops), tensors=tensors)

    return _each(graph, change)


def _diagonal(op: Op, tensors: dict[str, Tensor], parts: int) -> Op:
    weight = tensors.get(op.reads[1].tensor)
    if weight is None or weight.persistent is None or parts == 1:
        return op
    kept = dataclasses.replace(weight.persistent, kept=weight.persistent.kept / parts)
    tensors[weight.name] = dataclasses.replace(weight, elements=weight.elements / parts, persistent=kept)
    dims = {**op.dims, "n": op.dims["n"] / parts, "k": op.dims["k"] / parts, "batch": const(parts)}
    work = tuple(dataclasses.replace(w, flops=w.flops / parts) for w in op.work)
    return dataclasses.replace(op, work=work, dims=dims)


def _convolved(op: Op, block: Block, tensors: dict[str, Tensor]) -> list[Op]:
    """Gate, transform, product with the kernel's transform, transform back, gate: over all positions of each sequence."""
    width = op.dims["heads"] * op.dims["v_dim"]
    dtype = tensors[op.writes[0].tensor].dtype
    long = group_sum(COUNT * NEW * NEW**0.5) * width  # Σ N^1.5 of all channels
    elements = TOKENS * width
    kernel = f"{op.name}.kernel"
    length = TOKENS / SEQS
    tensors[kernel] = Tensor(kernel, length * width * 2, dtype)

    def made(name: str, size: Expr) -> str:
        tensors[f"{op.name}.{name}.out"] = Tensor(f"{op.name}.{name}.out", size, dtype)
        return f"{op.name}.{name}.out"

    q, k, v = (r.tensor for r in (*op.reads, op.reads[-1], op.reads[-1])[:3])
    gated, back = made("gate", elements), made("mix", elements)
    # two transforms of two complex products with real inputs: 2 · 2 · 8 / 2 FLOP a channel and N^1.5
    work = (Work("matmul", 16 * long, dtype), Work("vector", 8 * elements, "fp32"))
    return [
        Op(name=f"{op.name}.gate", kind="elementwise", fn="mul", path=op.path, reads=(Operand(k), Operand(v)), writes=(Operand(gated),),
           work=(Work("vector", elements, "fp32"),)),
        Op(name=f"{op.name}.mix", kind="fft", fn="monarch", path=op.path, reads=(Operand(gated),), writes=(Operand(back),), work=work,
           dims={"rows": SEQS * width, "width": length}),
        Op(name=op.name, kind="elementwise", fn="mul", path=op.path, reads=(Operand(q), Operand(back)), writes=op.writes,
           work=(Work("vector", elements, "fp32"),)),
    ]  # fmt: skip


@REWRITES.register("switched_heads")
def switched_heads(graph: Graph, fewer: float = 5.0, experts: int = 5, picks: int = 2) -> Graph:
    """Attention with so many times fewer heads, whose values and results go through experts picked for each token.

    The number of attention matrices falls; value and output projections of a head become ``experts`` of which ``picks`` are
    run (SwitchHead, arXiv 2312.07987 §2).
    """
    if fewer < 1 or experts < picks or picks < 1:
        raise BadInput(
            f"{fewer:g} times fewer heads, {picks} of {experts} experts", expected="fewer ≥ 1, experts ≥ picks ≥ 1"
        )

    names = {n: sym(n) / fewer for n, d in graph.dims.items() if d.role in ("heads", "kv_heads")}

    def change(block: Block) -> Block:
        if not any(op.kind == "attention" for op in block.ops):
            return block
        thin = block_with(block, names)
        tensors = dict(thin.tensors)
        ops = []
        for op in thin.ops:
            if op.fn == "linear" and op.name.rpartition(".")[2] in _VALUES_AND_RESULTS:
                weight = tensors[op.reads[1].tensor]
                if weight.persistent is not None:
                    kept = dataclasses.replace(weight.persistent, kept=weight.persistent.kept * experts)
                    tensors[weight.name] = dataclasses.replace(
                        weight, elements=weight.elements * experts, persistent=kept
                    )
                op = dataclasses.replace(op, work=tuple(dataclasses.replace(w, flops=w.flops * picks) for w in op.work))
            ops.append(op)
        return dataclasses.replace(thin, ops=tuple(ops), tensors=tensors)

    return _each(graph, change)


# What the frontends call the products that make a head's values and put heads together.
_VALUES_AND_RESULTS = ("v_proj", "o_proj", "out_proj", "value", "dense", "v", "o")


def _each(graph: Graph, change: Callable[[Block], Block]) -> Graph:
    """Every repeated layer of tokens changed."""
    chosen = set(map(id, token_layers(graph)))
    if not chosen:
        return graph
    return without_unread(graph.replace(blocks=tuple(change(b) if id(b) in chosen else b for b in graph.blocks)))


__all__ = ["monarch", "product_key_memory", "switched_heads"]
