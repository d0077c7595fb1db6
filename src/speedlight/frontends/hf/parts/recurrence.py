"""What recurrent mixers share: per-sequence states and the short causal convolution before the scan."""

from __future__ import annotations

from collections.abc import Sequence

from ...._foundation.expr import Expr, ceildiv, const, ge, group_sum, sym, where
from ....graph.builder import CACHED, CACHING, COUNT, NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Operand, Work
from . import Context

# Sequences that come with a state: those with tokens before this step.
CONTINUED = group_sum(COUNT * where(ge(CACHED, 1), 1, 0))


def keep_state(b: BlockBuilder, name: str, per_sequence: Expr, dtype: str) -> tuple[Operand, Operand]:
    """A state of ``per_sequence`` elements; returns its use as read and as write.

    It is read for sequences that continue and written for all: its size does not grow with the context.
    """
    state = b.cache(name, CACHING * SEQS * per_sequence, dtype, cls="state")
    return Operand(state, CACHING * CONTINUED * per_sequence), Operand(state, CACHING * SEQS * per_sequence)


def short_conv(
    ctx: Context, b: BlockBuilder, name: str, reads: Sequence[Operand], channels: Expr, taps: int, *, bias: bool,
    activation: bool = True,
) -> str:  # fmt: skip
    """A causal depthwise convolution of ``taps`` tokens with SiLU (arXiv 2405.21060 §7); keeps the last taps − 1 inputs."""
    weights = [b.weight(f"{name}.weight", channels * taps)]
    if bias:
        weights.append(b.weight(f"{name}.bias", channels))
    read, write = keep_state(b, f"{name}.state", channels * (taps - 1), ctx.formats.dtype)
    out = b.activation(f"{name}.out", TOKENS * channels)
    work = [Work("vector", TOKENS * channels * (2 * taps + (3 if activation else 0)), "fp32")]
    if activation:
        work.append(Work("transcendental", TOKENS * channels, "fp32"))
    b.op(
        name, "conv", "conv1d_depthwise", reads=(*reads, *[Operand(w) for w in weights], read),
        writes=(Operand(out), write), work=tuple(work),
        attrs={"kernel": taps, "causal": True}, dims={"rows": TOKENS, "width": channels, "seqs": SEQS},
    )  # fmt: skip
    return out


def chunk_steps(chunk: int) -> Expr:
    """Dependent steps of a chunk-wise scan: ⌈new / chunk⌉, averaged over the step's groups (they run side by side)."""
    return group_sum(ceildiv(NEW, chunk)) / sym("groups")


def stepwise() -> Expr:
    """1 for groups of a single new token, where the recurrence itself is the cheaper form, else 0."""
    return where(ge(NEW, 2), const(0), const(1))
