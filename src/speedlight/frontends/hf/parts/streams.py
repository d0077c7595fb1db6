"""Hyper-connections: several residual streams, mixed before and after each part (mHC, arXiv 2512.24880 §4; DeepSeek-V4 §2.2).

Legend: n streams, D hidden, T tokens. The residual is n·D wide; a part reads one collapsed stream of D.
"""

from __future__ import annotations

from ....graph.builder import TOKENS, BlockBuilder
from ....graph.ir import Operand
from . import Context

_SINKHORN = 20  # iterations that make the n × n mixing weights doubly stochastic


def collapse(ctx: Context, b: BlockBuilder, name: str, x: str, n: int) -> tuple[str, str]:
    """The streams' mixing weights, and one stream for the part to read.

    Returns:
        (collapsed stream, mixing weights)
    """
    wide, outputs = n * ctx.hidden, (2 + n) * n
    normed = b.norm(f"{name}.norm", "rms_norm", x, TOKENS, wide, weight=False)
    weights = b.linear(f"{name}.fn", normed, outputs, wide)
    learned = [b.weight(f"{name}.base", outputs), b.weight(f"{name}.scale", 3)]
    mixing = b.elementwise(
        f"{name}.sinkhorn", "softmax", [weights], TOKENS * outputs, weights=learned, kind="softmax",
        work_elements=TOKENS * (outputs + n * n * _SINKHORN),
    )  # fmt: skip
    one = b.elementwise(
        f"{name}.collapse", "add", [x, Operand(mixing, TOKENS * n)], TOKENS * ctx.hidden, kind="reduction",
        work_elements=TOKENS * 2 * wide,
    )  # fmt: skip
    return one, mixing


def expand(ctx: Context, b: BlockBuilder, name: str, out: str, x: str, mixing: str, n: int) -> str:
    """What the part made, spread over the streams and added to their mixture."""
    wide = n * ctx.hidden
    return b.elementwise(
        f"{name}.expand", "add", [out, x, mixing], TOKENS * wide, work_elements=TOKENS * (2 * wide + 2 * n * wide)
    )


def collapse_last(ctx: Context, b: BlockBuilder, name: str, x: str, n: int) -> str:
    """The streams into one, before the final norm."""
    wide = n * ctx.hidden
    normed = b.norm(f"{name}.norm", "rms_norm", x, TOKENS, wide, weight=False)
    weights = b.linear(f"{name}.fn", normed, n, wide)
    learned = [b.weight(f"{name}.base", n), b.weight(f"{name}.scale", 1)]
    mixing = b.elementwise(f"{name}.sigmoid", "sigmoid", [weights], TOKENS * n, weights=learned)
    return b.elementwise(
        f"{name}.collapse", "add", [x, mixing], TOKENS * ctx.hidden, kind="reduction", work_elements=TOKENS * 2 * wide
    )
