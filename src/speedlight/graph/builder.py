"""Builds blocks op by op: the vocabulary frontends compose architectures from.

Legend: T tokens, D hidden, N output features, K input features, H query heads, G KV heads.

FLOP counts of small functions are conventions (an exponential is one ``transcendental``; a multiply-add is 2 FLOPs) and
matter only where memory does not hide them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .._foundation.expr import Expr, ExprLike, as_expr, group_sum, maximum, minimum, sym
from .._foundation.formats import is_sparse, multiply_format, number_format
from .ir import (
    ONE,
    ZERO,
    Block,
    Exchange,
    Op,
    Operand,
    Persistent,
    Selection,
    Tensor,
    Work,
)

TOKENS, SEQS, LOGITS = sym("tokens"), sym("seqs"), sym("logits")
COUNT, NEW, CACHED = sym("count"), sym("new"), sym("cached")
CACHING, TRAINING = sym("caching"), sym("training")

# Vector operations and transcendental evaluations an element costs, by function.
ELEMENT_WORK: dict[str, tuple[float, float]] = {
    "add": (1, 0), "mul": (1, 0), "relu": (1, 0), "relu2": (2, 0), "silu": (3, 1), "gelu": (8, 1), "gelu_tanh": (8, 1),
    "quick_gelu": (4, 1), "sigmoid": (2, 1), "tanh": (2, 1), "exp": (0, 1), "softplus": (2, 2), "rope": (3, 0),
    "rms_norm": (4, 0), "layer_norm": (8, 0), "batch_norm": (2, 0), "group_norm": (8, 0), "l2_norm": (3, 0),
    "softmax": (4, 1), "copy": (0, 0), "cast": (1, 0), "quantize": (3, 0), "dropout": (2, 0), "scale": (1, 0),
    "topk": (4, 0), "cross_entropy": (6, 1), "sample": (5, 1), "adamw": (14, 1), "sgd": (3, 0), "sgd_momentum": (5, 0),
    "lion": (8, 0), "adam": (12, 1), "div": (1, 1), "sqrt": (0, 1), "rsqrt": (0, 1), "log": (0, 1), "sin": (0, 1),
    "cos": (0, 1), "pow": (1, 2), "erf": (6, 1), "elu": (2, 1), "mish": (4, 3), "hardswish": (4, 0), "hardsigmoid": (3, 0),
    "lerp": (3, 0), "random": (10, 0), "adam8bit": (20, 1),
}  # fmt: skip


def causal_pairs(window: ExprLike | None = None) -> Expr:
    """Unmasked query·key pairs of one group: query i of ``new`` sees min(window, cached + i) keys."""
    if window is None:
        return NEW * CACHED + NEW * (NEW + 1) / 2
    w = as_expr(window)
    growing = maximum(0, minimum(NEW, w - CACHED))  # queries that still see every key
    return growing * CACHED + growing * (growing + 1) / 2 + (NEW - growing) * w


def attention_format(queries: str, cached: str) -> str:
    """The format an attention over a cache is multiplied in: fp8 where the cache is, whatever the queries come in.

    With bf16 queries on an fp8 cache up to 1.3 times the bf16 peak is measured (tables attention_prefill, attention_decode),
    so that some kernels quantise the queries. Other narrow caches are expanded to the queries' format.
    """
    narrower = number_format(cached).bits < number_format(queries).bits
    return cached if narrower and number_format(cached).compute == "fp8" else queries


def product_work(flops: Expr, number: str) -> Work:
    """A product's work; of weights with two of every four left out only half of it must be done."""
    return Work("matmul", flops / 2, number, dense=flops) if is_sparse(number) else Work("matmul", flops, number)


class BlockBuilder:
    """Collects ops and tensors of one block.

    Args:
        name: the block's name.
        path: module path prefix of its ops.
        dtype: format of activations as stored between ops.
        count: equal instances.
        layers: the layer indices it stands for.
    """

    def __init__(
        self, name: str, path: str = "", dtype: str = "bf16", count: ExprLike = 1, layers: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.path = path
        self.dtype = dtype
        self.count = as_expr(count)
        self.layers = tuple(layers)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.inputs: list[str] = []
        self._quantized: dict[tuple[str, str], str] = {}

    # tensors -----------------------------------------------------------------------------------------------------

    def input(self, name: str, elements: ExprLike, dtype: str | None = None, needs_grad: bool = True) -> str:
        """An activation handed in by the previous block."""
        self.inputs.append(name)
        return self.activation(name, elements, dtype, needs_grad)

    def activation(self, name: str, elements: ExprLike, dtype: str | None = None, needs_grad: bool = True) -> str:
        self.tensors[name] = Tensor(name, as_expr(elements), dtype or self.dtype, "activation", None, needs_grad)
        return name

    def weight(self, name: str, elements: ExprLike, dtype: str | None = None) -> str:
        size = as_expr(elements)
        self.tensors[name] = Tensor(name, size, dtype or self.dtype, "weight", Persistent(size))
        return name

    def cache(self, name: str, kept: ExprLike, dtype: str, cls: str = "kv") -> str:
        """A per-sequence persistent tensor; ``kept`` are its elements while the step runs."""
        size = as_expr(kept)
        self.tensors[name] = Tensor(name, size, dtype, cls, Persistent(size, "sequence"), needs_grad=False)
        return name

    # ops ---------------------------------------------------------------------------------------------------------

    def op(self, name: str, kind: str, fn: str, **fields: Any) -> Op:
        fields.setdefault("path", f"{self.path}.{name}" if self.path else name)
        op = Op(name=name, kind=kind, fn=fn, **fields)
        self.ops.append(op)
        return op

    def elementwise(
        self,
        name: str,
        fn: str,
        reads: Sequence[str | Operand],
        elements: ExprLike,
        *,
        kind: str = "elementwise",
        weights: Sequence[str] = (),
        dtype: str | None = None,
        work_elements: ExprLike | None = None,
        out: str | None = None,
        **fields: Any,
    ) -> str:
        """A streaming op over ``elements`` outputs; returns the output's name."""
        output = self.activation(out or f"{name}.out", elements, dtype)
        size = as_expr(work_elements if work_elements is not None else elements)
        operands = [r if isinstance(r, Operand) else Operand(r) for r in (*reads, *weights)]
        work = self.element_work(fn, size)
        self.op(name, kind, fn, reads=tuple(operands), writes=(Operand(output),), work=work, **fields)
        return output

    @staticmethod
    def element_work(fn: str, elements: Expr, number: str = "fp32") -> tuple[Work, ...]:
        vector, transcendental = ELEMENT_WORK.get(fn, (1, 0))
        work = []
        if vector:
            work.append(Work("vector", elements * vector, number))
        if transcendental:
            work.append(Work("transcendental", elements * transcendental, number))
        return tuple(work)

    def norm(self, name: str, fn: str, x: str, rows: ExprLike, width: ExprLike, *, bias: bool = False,
             weight: bool = True, weight_elements: ExprLike | None = None) -> str:  # fmt: skip
        """A normalisation over the last dimension with an optional learned scale and bias."""
        learned, size = [], width if weight_elements is None else weight_elements
        if weight:
            learned.append(self.weight(f"{name}.weight", size))
        if bias:
            learned.append(self.weight(f"{name}.bias", size))
        return self.elementwise(
            name, fn, [x], as_expr(rows) * width, kind="norm", weights=learned,
            dims={"rows": as_expr(rows), "width": as_expr(width)},
        )  # fmt: skip

    def linear(
        self,
        name: str,
        x: str,
        n: ExprLike,
        k: ExprLike,
        *,
        rows: ExprLike = TOKENS,
        bias: bool = False,
        weight_format: str | None = None,
        activation_format: str | None = None,
        exchanges: Sequence[tuple[str, tuple[str, ...]]] = (),
        weight: str | None = None,
        bias_elements: ExprLike | None = None,
        out_dtype: str | None = None,
        **fields: Any,
    ) -> str:
        """y[T,N] = x[T,K] · W[N,K]ᵀ (+ b).

        Args:
            weight_format: storage format of W; the block's dtype by default.
            activation_format: format x is multiplied in; narrower than stored, a quantize op is put before.
            exchanges: ``("reduce", dims)`` where K is divided by placement, ``("gather", dims)`` where N is.
            weight: name of an existing (tied) weight.
        """
        m, n, k = as_expr(rows), as_expr(n), as_expr(k)
        stored = weight_format or self.dtype
        used = activation_format or self.dtype
        source = self._quantize(x, used, m * k, k) if number_format(used).bits < number_format(self.dtype).bits else x
        tensor = weight or self.weight(f"{name}.weight", n * k, stored)
        whole = m == TOKENS  # other rows (one position a sequence) read only those of x
        reads = [Operand(source) if whole else Operand(source, m * k), Operand(tensor)]
        if bias:
            reads.append(Operand(self.weight(f"{name}.bias", bias_elements if bias_elements is not None else n)))
        output = self.activation(f"{name}.out", m * n, out_dtype)
        work = (product_work(2 * m * n * k, multiply_format(stored, used)),)
        self.op(
            name, "matmul", "linear", reads=tuple(reads), writes=(Operand(output),), work=work,
            dims={"m": m, "n": n, "k": k, "batch": ONE},
            exchanges=tuple(Exchange(kind, dims, output) for kind, dims in exchanges),
            attrs={"weights": stored, "activations": used, **fields.pop("attrs", {})}, **fields,
        )  # fmt: skip
        return output

    def grouped_linear(
        self,
        name: str,
        x: str,
        n: ExprLike,
        k: ExprLike,
        *,
        items: ExprLike,
        selection: Selection,
        all_items: ExprLike,
        bias: bool = False,
        weight_format: str | None = None,
        activation_format: str | None = None,
        exchanges: Sequence[tuple[str, tuple[str, ...]]] = (),
        **fields: Any,
    ) -> str:
        """One linear layer per item (expert) on the tokens that chose it.

        Args:
            items: experts on this rank (a divisible dimension); ``all_items``: experts in all.
            selection: how tokens choose; decides rows and distinct weights read.
        """
        n, k, here = as_expr(n), as_expr(k), as_expr(items)
        share = here / as_expr(all_items)
        rows = TOKENS * selection.picks * share
        touched = selection.distinct(TOKENS) * share
        stored, used = weight_format or self.dtype, activation_format or self.dtype
        tensor = self.weight(f"{name}.weight", here * n * k, stored)
        held = self.tensors[x].elements  # tokens that chose several experts are stored (and quantised) once
        narrower = number_format(used).bits < number_format(self.dtype).bits
        source = self._quantize(x, used, held, k) if narrower else x
        reads = [Operand(source, rows * k), Operand(tensor, touched * n * k)]
        if bias:
            reads.append(Operand(self.weight(f"{name}.bias", here * n), touched * n))
        output = self.activation(f"{name}.out", rows * n)
        self.op(
            name, "moe", "grouped_linear", reads=tuple(reads), writes=(Operand(output),),
            work=(product_work(2 * rows * n * k, multiply_format(stored, used)),),
            dims={"m": rows / maximum(touched, 1e-9), "n": n, "k": k, "batch": touched, "tokens": TOKENS, "items": here},
            selection=selection,
            exchanges=tuple(Exchange(kind, dims, output) for kind, dims in exchanges),
            attrs={"weights": stored, "activations": used, **fields.pop("attrs", {})}, **fields,
        )  # fmt: skip
        return output

    def _quantize(self, x: str, target: str, elements: Expr, width: Expr) -> str:
        """Dynamic activation quantisation, once for all readers of ``x``."""
        key = (x, target)
        if key not in self._quantized:
            name = f"{x.removesuffix('.out')}.quantize_{target}"
            self._quantized[key] = self.elementwise(
                name, "quantize", [x], elements, kind="quantize", dtype=target, path=f"{self.path}.{name}",
                dims={"rows": elements / width, "width": width}, attrs={"target": target},
            )  # fmt: skip
        return self._quantized[key]

    def attention(
        self,
        name: str,
        q: str,
        k: str | None,
        v: str | None,
        *,
        heads: ExprLike,
        kv_heads: ExprLike,
        qk_dim: ExprLike,
        v_dim: ExprLike,
        kv: str | Operand | None = None,
        kv_elements_per_token: ExprLike | None = None,
        causal: bool = True,
        window: int | None = None,
        rows: ExprLike = TOKENS,
        count: ExprLike = 1,
        pairs: Expr | None = None,
        dense_pairs: Expr | None = None,
        span: Expr | None = None,
        format: str | None = None,
        extra_reads: Sequence[Operand] = (),
        attrs: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> str:
        """softmax(q·kᵀ)·v over each sequence group, flash-style: scores never leave the chip.

        Args:
            kv: the cache; its cached tokens are read (``kv_elements_per_token`` each), new ones come as ``k``, ``v``.
                An operand says itself how much is read, and how.
            pairs: unmasked query·key pairs of one group; derived from ``causal`` and ``window`` by default.
            format: of the queries; an fp8 cache is multiplied in fp8 (:func:`attention_format`).
            span: cached tokens of one group that are read; derived from ``window`` by default.
        """
        h, g, dq, dv = as_expr(heads), as_expr(kv_heads), as_expr(qk_dim), as_expr(v_dim)
        dense = dense_pairs if dense_pairs is not None else NEW * (CACHED + NEW)
        if pairs is None:
            if causal:
                pairs = causal_pairs(window)
            elif window is not None:
                pairs = NEW * minimum(CACHED + NEW, window)
            else:
                pairs = dense
        all_pairs = group_sum(COUNT * pairs)
        if span is None:
            span = CACHED if window is None else minimum(CACHED, window - 1)
        reads = [Operand(q), *[Operand(t) for t in (k, v) if t is not None], *extra_reads]
        if isinstance(kv, Operand):
            reads.append(kv)
        elif kv is not None:
            per_token = kv_elements_per_token if kv_elements_per_token is not None else g * (dq + dv)
            reads.append(Operand(kv, group_sum(COUNT * span) * per_token))
        output = self.activation(f"{name}.out", as_expr(rows) * h * dv)
        number = format or self.dtype
        cache = kv.tensor if isinstance(kv, Operand) else kv
        stored = self.tensors[cache].dtype if cache in self.tensors else number
        self.op(
            name, "attention", "sdpa", reads=tuple(reads), writes=(Operand(output),),
            work=(
                Work("matmul", 2 * h * (dq + dv) * all_pairs, multiply_format(attention_format(number, stored)),
                     dense=2 * h * (dq + dv) * group_sum(COUNT * dense)),
                Work("vector", 4 * h * all_pairs, "fp32"),
                Work("transcendental", h * all_pairs, "fp32"),
            ),
            dims={
                "heads": h, "kv_heads": g, "qk_dim": dq, "v_dim": dv, "seqs": SEQS, "rows": as_expr(rows),
                "keys": group_sum(COUNT * (span + NEW)),
            },
            count=as_expr(count),
            attrs={"causal": causal, "window": window, "format": number, "stored": stored, **(attrs or {})}, **fields,
        )  # fmt: skip
        return output

    def kv_write(self, name: str, sources: Sequence[str], kv: str, elements: ExprLike) -> None:
        """Append the new tokens' keys and values to the cache (absent where nothing is cached)."""
        size = as_expr(elements)
        self.op(
            name, "copy", "kv_write", reads=tuple(Operand(s) for s in sources),
            writes=(Operand(kv, size, access="strided", granule=None),), work=(), count=CACHING,
        )  # fmt: skip

    def embedding(self, name: str, table: str, rows: ExprLike, width: ExprLike, *, share: ExprLike = 1,
                  exchanges: Sequence[tuple[str, tuple[str, ...]]] = ()) -> str:  # fmt: skip
        """Look up ``rows`` rows of a table; only the rows are read."""
        m, d = as_expr(rows), as_expr(width)
        output = self.activation(f"{name}.out", m * d)
        self.op(
            name, "embedding", "embedding", reads=(Operand(table, m * d * share, access="random", granule=d),),
            writes=(Operand(output),), work=(), dims={"rows": m, "width": d},
            exchanges=tuple(Exchange(kind, dims, output) for kind, dims in exchanges),
        )  # fmt: skip
        return output

    def reduce_over(self, tensor: str, dims: tuple[str, ...]) -> None:
        """Mark the op that writes ``tensor`` as leaving partial sums once ``dims`` are divided."""
        position = next(i for i, op in enumerate(self.ops) if any(w.tensor == tensor for w in op.writes))
        op = self.ops[position]
        exchanges = (*op.exchanges, Exchange("reduce", dims, tensor))
        self.ops[position] = dataclasses.replace(op, exchanges=exchanges)

    # finish ------------------------------------------------------------------------------------------------------

    def build(self, outputs: Sequence[str] = (), phase: str = "forward") -> Block:
        return Block(
            self.name, tuple(self.ops), self.tensors, self.count, tuple(self.inputs), tuple(outputs), self.layers, phase
        )


__all__ = [
    "CACHED", "CACHING", "COUNT", "LOGITS", "NEW", "ONE", "SEQS", "TOKENS", "TRAINING", "ZERO", "BlockBuilder",
    "attention_format", "causal_pairs", "product_work",
]  # fmt: skip
