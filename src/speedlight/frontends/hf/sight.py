"""Pictures among the tokens of a prompt: an image tower and its projector, run for the pictures of fresh sequences."""

from __future__ import annotations

import dataclasses

from ..._foundation.expr import Expr, ExprLike, const, ge, sym, where
from ...graph.builder import COUNT, SEQS, TOKENS, BlockBuilder
from ...graph.ir import Block, Operand, Tensor
from .arch import Sight
from .binding import bind
from .build import layer_blocks
from .ends import embed
from .parts import Context, linear
from .parts.cross import FRESH, FRESH_SHARE

IMAGES = sym("images")
PICTURES = FRESH * IMAGES
SEEN = "vision.states"


def sight_blocks(
    sight: Sight, ctx: Context, shared: dict[str, Tensor]
) -> tuple[list[Block], dict[str, int | None], dict[str, object]]:
    """The blocks, the free sizes they bring, and the facts that a question needs (tokens of a prompt's pictures)."""
    tower = sight.tower
    inner = Context(tower.hidden, ctx.formats, ctx.dims)
    blocks = [embed(tower, inner, shared, "vision."), *layer_blocks(tower, inner, "vision.")]
    free: dict[str, int | None] = {"images": sight.images}
    asked: dict[str, int] = {"images": sight.images}
    positions: Expr = const(tower.patches.tokens)
    if not tower.patches.image:
        positions = (sym("height") / tower.patches.patch) * (sym("width") / tower.patches.patch)
        free |= {"height": sight.side, "width": sight.side}
        asked |= {"height": sight.side, "width": sight.side}
    tokens = (positions - sight.dropped) / sight.merged
    blocks.append(_projector(sight, inner, ctx.hidden))
    fixed: dict[str, ExprLike] = {
        "tokens": PICTURES * positions, "seqs": PICTURES, "new": positions, "cached": 0, "caching": 0,
        "count": COUNT * FRESH_SHARE * IMAGES,
    }  # fmt: skip
    shared[SEEN] = Tensor(SEEN, PICTURES * tokens * ctx.hidden, ctx.formats.dtype)
    present = where(ge(PICTURES, 0.5), 1, 0)
    bound = []
    for block in blocks:
        fixed_block = bind(block, fixed)
        ops = tuple(dataclasses.replace(op, count=op.count * present) for op in fixed_block.ops)
        bound.append(dataclasses.replace(fixed_block, ops=ops))
    return (
        bound,
        free,
        {
            "asked": asked,
            "length": IMAGES * tokens,
            "beside": True,
            "optional": ("images",),
            "apart": tuple(block.name for block in bound),
        },
    )


def _projector(sight: Sight, ctx: Context, hidden: int) -> Block:
    """Positions to the language model's width."""
    b = BlockBuilder("vision.projector", "vision.projector", ctx.formats.dtype)
    x = b.input("x", TOKENS * ctx.hidden)
    rows = (TOKENS - SEQS * sight.dropped) / sight.merged
    wide = ctx.hidden * sight.merged
    inner = hidden
    if sight.projector == "merger":
        x = b.norm("ln_q", sight.tower.norm, x, TOKENS, ctx.hidden, bias=sight.tower.norm_bias)
        inner = wide
    x = linear(ctx, b, "linear_1", x, inner, wide, bias=True, rows=rows)
    x = b.elementwise("act", "gelu", [x], rows * inner)
    x = linear(ctx, b, "linear_2", x, hidden, inner, bias=True, rows=rows)
    b.op("hand_on", "copy", "copy", reads=(Operand(x),), writes=(Operand(SEEN),), count=const(0))
    return b.build([x])
