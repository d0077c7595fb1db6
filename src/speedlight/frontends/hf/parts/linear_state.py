"""Linear recurrences without a normaliser: RWKV's time and channel mixing, RetNet's retention.

Legend: T tokens, A inner width, H heads of d, V value width.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...._foundation.expr import Expr, const, group_sum, minimum
from ....graph.builder import COUNT, NEW, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from ..arch import ChannelMix, Retention, Rwkv
from . import Context, linear, part, plain_linear
from .recurrence import chunk_steps, keep_state, stepwise

_SCAN_CHUNK = 64  # tokens a block of the chunk-wise form of RWKV 5 and 6 takes


def matrix_state_scan(
    b: BlockBuilder, name: str, fn: str, reads: Sequence[Operand], heads: Expr, keys: int, values: Expr, chunk: int
) -> str:
    """A matrix of ``keys`` × ``values/heads`` a head, decayed and updated by every token.

    Prompts in chunks of q = min(chunk, new), on matrix units, masked halves left out: scores (q + 1)·K, times values
    (q + 1)·V, chunk states 2·k·V and their outputs 2·k·V a token (arXiv 2307.08621 eq. 7), K = heads · keys. A single token:
    decay, outer product, sum and read-out, 5·k·V vector FLOPs (eq. 6).
    """
    state = keys * values
    read, write = keep_state(b, f"{name}.state", state, "fp32")
    out = b.activation(f"{name}.out", TOKENS * values)
    q, one, tokens, wide = minimum(NEW, chunk), stepwise(), COUNT * NEW, heads * keys
    blocks = group_sum(tokens * (1 - one) * ((q + 1) * (wide + values) + 4 * state))
    dense = group_sum(tokens * (1 - one) * (2 * q * (wide + values) + 4 * state))
    vector = group_sum(tokens * (one * 5 * state + (1 - one) * (2 * state / q + (q + 1) * heads)))
    b.op(
        name, "scan", fn, reads=(*reads, read), writes=(Operand(out), write),
        work=(Work("matmul", blocks, b.dtype, dense=dense), Work("vector", vector, "fp32")), span=chunk_steps(chunk),
        dims={"rows": TOKENS, "heads": heads, "head_dim": values / heads, "state": const(keys)}, attrs={"chunk": chunk},
    )  # fmt: skip
    return out


def _shifted(ctx: Context, b: BlockBuilder, name: str, x: str, kinds: str, vectors: int) -> list[str]:
    """Each token mixed with the one before it, by learned shares: one mix for each of ``kinds``."""
    read, write = keep_state(b, f"{name}.shift.state", const(ctx.hidden), ctx.formats.dtype)
    weights = [Operand(b.weight(f"{name}.mix", vectors * ctx.hidden))]
    size = TOKENS * ctx.hidden
    outs = [b.activation(f"{name}.shift.{kind}", size) for kind in kinds]
    b.op(f"{name}.shift", "elementwise", "lerp", reads=(Operand(x), *weights, read),
         writes=(*[Operand(o) for o in outs], write), work=b.element_work("lerp", size * len(kinds)))  # fmt: skip
    return outs


@part(Rwkv)
def time_mix(ctx: Context, b: BlockBuilder, m: Rwkv, x: str) -> str:
    """Receptance, key and value of shifted tokens, a decayed sum over the past, an output."""
    name, hidden = "attention", ctx.hidden
    a, a_name = ctx.dim("state_width", m.inner, "state_heads")
    kinds = "kvr" if m.version == 4 else "kvrg"
    if m.version == 6:
        return _dynamic_mix(ctx, b, m, x, a, a_name)
    mixed = _shifted(ctx, b, name, x, kinds, len(kinds))
    made = {k: linear(ctx, b, f"{name}.{_NAMES[k]}", y, a, hidden) for k, y in zip(kinds, mixed, strict=True)}
    decay = [Operand(b.weight(f"{name}.time_decay", a)), Operand(b.weight(f"{name}.time_first", a))]
    if m.version == 4:
        read, write = keep_state(b, f"{name}.wkv.state", 3 * a, "fp32")  # numerator, denominator, largest exponent
        out = b.activation(f"{name}.wkv.out", TOKENS * a)
        b.op(f"{name}.wkv", "scan", "rwkv4_scan", reads=(Operand(made["k"]), Operand(made["v"]), *decay, read),
             writes=(Operand(out), write),
             work=(Work("vector", TOKENS * a * 14, "fp32"), Work("transcendental", TOKENS * a * 4, "fp32")),
             span=group_sum(NEW), dims={"rows": TOKENS, "width": a})  # fmt: skip
        out = b.elementwise(f"{name}.gate", "sigmoid", [out, made["r"]], TOKENS * a)
    else:
        out = _heads_out(ctx, b, m, made, decay, a)
    return linear(ctx, b, f"{name}.output", out, hidden, a, exchanges=[("reduce", (a_name,))])


_NAMES = {"k": "key", "v": "value", "r": "receptance", "g": "gate"}


def _heads_out(ctx: Context, b: BlockBuilder, m: Rwkv, made: dict[str, str], decay: list[Operand], a: Expr) -> str:
    """The matrix-valued state, a group norm over heads, the output gate."""
    reads = [Operand(made[k]) for k in "rkv"] + decay
    out = matrix_state_scan(
        b, "attention.wkv", f"rwkv{m.version}_scan", reads, a / m.head_dim, m.head_dim, a, _SCAN_CHUNK
    )
    out = b.norm("attention.ln_x", "group_norm", out, TOKENS, a, bias=True)
    return b.elementwise("attention.out_gate", "silu", [out, made["g"]], TOKENS * a)


def _dynamic_mix(ctx: Context, b: BlockBuilder, m: Rwkv, x: str, a: Expr, a_name: str) -> str:
    """Version 6: shares of the mix and decays come from the input through low-rank projections (arXiv 2404.05892 §4)."""
    name, hidden = "attention", ctx.hidden
    [first] = _shifted(ctx, b, name, x, "x", 6)
    low = plain_linear(ctx, b, f"{name}.mix_w1", first, 5 * m.mix_rank, hidden)
    low = b.elementwise(f"{name}.mix_tanh", "tanh", [low], TOKENS * 5 * m.mix_rank)
    second = b.weight(f"{name}.mix_w2", 5 * m.mix_rank * hidden)
    wide = b.activation(f"{name}.mix_w2.out", TOKENS * 5 * hidden)
    b.op(f"{name}.mix_w2", "matmul", "bmm", reads=(Operand(low), Operand(second)), writes=(Operand(wide),),
         work=(Work("matmul", 2 * TOKENS * 5 * m.mix_rank * hidden, b.dtype),),
         dims={"m": TOKENS, "n": const(hidden), "k": const(m.mix_rank), "batch": const(5)})  # fmt: skip
    size = TOKENS * hidden
    mixed = {
        k: b.elementwise(f"{name}.mixed.{k}", "lerp", [Operand(x), Operand(wide, size)], size) for k in "wkvrg"
    }  # fmt: skip
    decay = plain_linear(ctx, b, f"{name}.decay_w1", mixed["w"], m.decay_rank, hidden)
    decay = b.elementwise(f"{name}.decay_tanh", "tanh", [decay], TOKENS * m.decay_rank)
    decay = plain_linear(ctx, b, f"{name}.decay_w2", decay, a, m.decay_rank)
    made = {k: linear(ctx, b, f"{name}.{_NAMES[k]}", mixed[k], a, hidden) for k in "kvrg"}
    learned = [Operand(b.weight(f"{name}.time_decay", a)), Operand(b.weight(f"{name}.time_first", a)), Operand(decay)]
    out = _heads_out(ctx, b, m, made, learned, a)
    return linear(ctx, b, f"{name}.output", out, hidden, a, exchanges=[("reduce", (a_name,))])


@part(ChannelMix)
def channel_mix(ctx: Context, b: BlockBuilder, m: ChannelMix, x: str) -> str:
    """σ(r) ⊙ (relu(k)²·V) of shifted tokens."""
    name, hidden = "feed_forward", ctx.hidden
    key, receptance = _shifted(ctx, b, name, x, "kr", 2)
    f, f_name = ctx.dim("ffn", m.width, "ffn")
    up = linear(ctx, b, f"{name}.key", key, f, hidden)
    up = b.elementwise(f"{name}.act", "relu2", [up], TOKENS * f)
    down = linear(ctx, b, f"{name}.value", up, hidden, f, exchanges=[("reduce", (f_name,))])
    gate = linear(ctx, b, f"{name}.receptance", receptance, hidden, hidden)
    return b.elementwise(f"{name}.gate", "sigmoid", [gate, down], TOKENS * hidden)


@part(Retention)
def retention(ctx: Context, b: BlockBuilder, m: Retention, x: str) -> str:
    """(QKᵀ ⊙ D)·V with rotated queries and keys, a norm a head, a gate (arXiv 2307.08621 eq. 8)."""
    name, hidden = "retention", ctx.hidden
    h, h_name = ctx.dim("state_heads", m.heads, "state_heads")
    keys, values = hidden // m.heads, m.value_width // m.heads
    q, k = [linear(ctx, b, f"{name}.{p}_proj", x, h * keys, hidden) for p in "qk"]
    v, g = [linear(ctx, b, f"{name}.{p}_proj", x, h * values, hidden) for p in "vg"]
    q, k = [b.elementwise(f"{name}.rope_{p}", "rope", [t], TOKENS * h * keys) for p, t in (("q", q), ("k", k))]
    out = matrix_state_scan(
        b, f"{name}.scan", "retention", [Operand(t) for t in (q, k, v)], h, keys, h * values, m.chunk
    )
    out = b.norm(f"{name}.group_norm", "rms_norm", out, TOKENS * h, values, weight=False)
    out = b.elementwise(f"{name}.gate", "silu", [out, g], TOKENS * h * values)
    return linear(ctx, b, f"{name}.out_proj", out, hidden, h * values, exchanges=[("reduce", (h_name,))])
