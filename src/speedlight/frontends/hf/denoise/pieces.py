"""What diffusion transformers are made of: embeddings of time, modulated norms, attention over streams, feed-forwards.

Legend: T latent tokens, W text tokens a sequence (the free size ``text``), D width, H heads of d. A *stream* is a tensor
with its rows and its length per sequence.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from ...._foundation.expr import Expr, const, sym
from ....graph.builder import NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Block, Operand, Tensor, Work
from ..parts import Context, linear

TEXT = sym("text")  # text tokens a sequence
TEXT_ROWS = SEQS * TEXT
TIME = 256  # sinusoids a time step is expanded into (arXiv 2212.09748, appendix A)
CONDITION = "condition"  # the embedding of time (and pooled text) that every block's modulation reads


@dataclasses.dataclass(frozen=True)
class Built:
    """What a builder makes: blocks, free sizes with their defaults, facts about the model, assumptions."""

    blocks: tuple[Block, ...]
    symbols: dict[str, int | None] = dataclasses.field(default_factory=dict)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[tuple[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True)
class Stream:
    """A sequence's tokens of one sort: its tensor, rows over all sequences, length of one."""

    x: str
    rows: Expr
    length: Expr


def image_stream(x: str) -> Stream:
    return Stream(x, TOKENS, NEW)


def text_stream(x: str) -> Stream:
    return Stream(x, TEXT_ROWS, TEXT)


def given(b: BlockBuilder, name: str, elements: Expr) -> str:
    """An input of the step."""
    b.tensors[name] = Tensor(name, elements, b.dtype, "input", needs_grad=False)
    return name


def two_layers(
    ctx: Context,
    b: BlockBuilder,
    name: str,
    x: str,
    inputs: int,
    width: int,
    rows: Expr,
    act: str,
    out: int | None = None,
) -> str:
    """Linear, activation, linear: embeddings of time, pooled text and captions."""
    hidden = linear(ctx, b, f"{name}.linear_1", x, width, inputs, bias=True, rows=rows)
    hidden = b.elementwise(f"{name}.act", act, [hidden], rows * width)
    return linear(ctx, b, f"{name}.linear_2", hidden, out or width, width, bias=True, rows=rows)


def time_embedding(
    ctx: Context, b: BlockBuilder, name: str, width: int, inputs: int = TIME, out: int | None = None
) -> str:
    """A time step (or guidance scale) of each sequence as a vector."""
    return two_layers(ctx, b, name, given(b, f"{name}.sinusoids", SEQS * inputs), inputs, width, SEQS, "silu", out)


def hand_condition(b: BlockBuilder, shared: dict[str, Tensor], parts: Sequence[str], width: int) -> None:
    """Sum the embeddings; every block reads them through one activation."""
    shared[CONDITION] = Tensor(CONDITION, SEQS * width, b.dtype)
    b.op("condition", "elementwise", "silu", reads=tuple(Operand(p) for p in parts), writes=(Operand(CONDITION),),
         work=b.element_work("silu", SEQS * width * len(parts)))  # fmt: skip


def patches(b: BlockBuilder, name: str, channels: int, volume: int, width: int, *, bias: bool = True) -> str:
    """Latent patches by a convolution whose stride is its kernel (a linear layer over a patch)."""
    latents = given(b, "latents", TOKENS * channels * volume)
    weights = [b.weight(f"{name}.weight", width * channels * volume)]
    if bias:
        weights.append(b.weight(f"{name}.bias", width))
    out = b.activation(f"{name}.out", TOKENS * width)
    k = channels * volume
    b.op(
        name, "conv", "conv2d", reads=(Operand(latents), *[Operand(w) for w in weights]), writes=(Operand(out),),
        work=(Work("matmul", 2 * TOKENS * width * k, b.dtype),),
        dims={"m": TOKENS, "n": const(width), "k": const(k), "batch": const(1)},
        attrs={"kernel": volume, "stride": volume, "in_channels": channels, "out_channels": width, "groups": 1},
    )  # fmt: skip
    return out


def modulation(ctx: Context, b: BlockBuilder, name: str, parts: int, width: int, inputs: int | None = None) -> str:
    """Scales, shifts and gates of a block, once a sequence (adaLN, arXiv 2212.09748 §3.2)."""
    return linear(ctx, b, f"{name}.linear", CONDITION, parts * width, inputs or width, bias=True, rows=SEQS)


def modulated(
    b: BlockBuilder,
    name: str,
    x: str,
    rows: Expr,
    width: int,
    by: str,
    *,
    learned: bool = False,
    fn: str = "layer_norm",
) -> str:
    """A norm, then a scale and a shift a sequence."""
    normed = b.norm(name, fn, x, rows, width, weight=learned, bias=learned and fn == "layer_norm")
    return b.elementwise(f"{name}.modulate", "scale", [normed, by], rows * width, work_elements=2 * rows * width)


def gated_add(b: BlockBuilder, name: str, out: str, x: str, rows: Expr, width: int) -> str:
    """x + gate · out."""
    return b.elementwise(name, "add", [out, x], rows * width, work_elements=2 * rows * width)


def projected(
    ctx: Context, b: BlockBuilder, name: str, x: str, heads: int, d: int, inputs: int, rows: Expr, *, bias: bool = True,
    norm: str = "none", norm_bias: bool = False, names: Sequence[str] = ("to_q", "to_k", "to_v"),
) -> list[str]:  # fmt: skip
    """Queries, keys and values (or some of them); queries and keys normed over a head (``head``) or all of them (``full``).

    Args:
        norm: ``none``, ``head`` (RMS), ``full`` (RMS over all heads) or ``layer`` (layer norm over a head).
    """
    h, _ = ctx.dim("heads", heads, "heads")
    found = []
    for which in names:
        y = linear(ctx, b, f"{name}.{which}", x, h * d, inputs, bias=bias, rows=rows)
        if norm != "none" and not which.endswith(("v", "v_proj")):
            fn = "layer_norm" if norm == "layer" else "rms_norm"
            size = (rows, h * d) if norm == "full" else (rows * h, const(d))
            y = b.norm(f"{name}.{which}.norm", fn, y, *size, bias=norm_bias)
        found.append(y)
    return found


def attend(
    ctx: Context, b: BlockBuilder, name: str, queries: Sequence[tuple[str, Stream]], keys: Sequence[str],
    values: Sequence[str], length: Expr, heads: int, d: int,
) -> list[str]:  # fmt: skip
    """Full attention of one or more streams' queries over ``length`` keys a sequence; one output a stream."""
    h, _ = ctx.dim("heads", heads, "heads")
    rows, per_sequence = queries[0][1].rows, queries[0][1].length
    for _, stream in queries[1:]:
        rows, per_sequence = rows + stream.rows, per_sequence + stream.length
    out = b.attention(
        name, queries[0][0], None, None, heads=h, kv_heads=h, qk_dim=d, v_dim=d, causal=False, pairs=per_sequence * length,
        dense_pairs=per_sequence * length, rows=rows, span=length - NEW,
        extra_reads=[Operand(t) for t in (*[q for q, _ in queries[1:]], *keys, *values)],
    )  # fmt: skip
    if len(queries) == 1:
        return [out]
    del b.tensors[out]
    outs = [b.activation(f"{name}.out.{i}", stream.rows * h * d) for i, (_, stream) in enumerate(queries)]
    b.ops[-1] = dataclasses.replace(b.ops[-1], writes=tuple(Operand(o) for o in outs))
    return outs


def way_out(
    ctx: Context, b: BlockBuilder, name: str, x: str, heads: int, d: int, width: int, rows: Expr, *, bias: bool = True
) -> str:
    """The projection after attention; partial sums over divided heads are reduced."""
    h, h_name = ctx.dim("heads", heads, "heads")
    return linear(ctx, b, name, x, width, h * d, bias=bias, rows=rows, exchanges=[("reduce", (h_name,))])


def feed_forward(
    ctx: Context, b: BlockBuilder, name: str, x: str, rows: Expr, width: int, inner: int, act: str = "gelu_tanh", *,
    gated: bool = False, bias: bool = True,
) -> str:  # fmt: skip
    """Two layers, or a first one of twice the width whose halves gate each other (GEGLU, SwiGLU: arXiv 2002.05202)."""
    f, f_name = ctx.dim("ffn", inner, "ffn")
    up = linear(ctx, b, f"{name}.up", x, 2 * f if gated else f, width, bias=bias, rows=rows)
    active = b.elementwise(f"{name}.act", act, [up], rows * f, work_elements=2 * rows * f if gated else rows * f)
    return linear(ctx, b, f"{name}.down", active, width, f, bias=bias, rows=rows, exchanges=[("reduce", (f_name,))])


def repeated(name: str, ctx: Context, count: int, width: int, *, text: int = 0) -> tuple[BlockBuilder, str, str]:
    """A folded block that takes and hands on the latents' stream, and the text's of width ``text`` where not 0."""
    b = BlockBuilder(name, f"{name}.*", ctx.formats.dtype, count)
    x = b.input("x", TOKENS * width)
    return b, x, b.input("text_in", TEXT_ROWS * text) if text else ""
