"""The encoder of an encoder–decoder: it runs on a step's fresh sequences, over their source."""

from __future__ import annotations

import dataclasses

from ..._foundation.expr import ExprLike, const
from ...graph.builder import COUNT, TOKENS, BlockBuilder
from ...graph.ir import Block, Operand, Tensor
from .arch import Arch
from .binding import bind
from .build import layer_blocks
from .ends import embed, final_norm
from .parts import Context
from .parts.cross import FRESH, FRESH_SHARE, PRESENT, SOURCE, STATES, source_rows


def encoder_blocks(arch: Arch, ctx: Context, shared: dict[str, Tensor]) -> list[Block]:
    """The blocks, whose last hands its states to the decoder's layers (a tensor that several blocks read)."""
    inner = Context(arch.hidden, ctx.formats, ctx.dims)
    blocks = [embed(arch, inner, shared, "encoder."), *layer_blocks(arch, inner, "encoder.")]
    fixed: dict[str, ExprLike] = {
        "tokens": source_rows(), "seqs": FRESH, "new": SOURCE, "cached": 0, "caching": 0, "count": COUNT * FRESH_SHARE
    }  # fmt: skip
    bound = [_when_present(bind(block, fixed)) for block in (*blocks, _states(arch, inner))]
    shared[STATES] = Tensor(STATES, source_rows() * arch.hidden, ctx.formats.dtype)
    return bound


def _states(arch: Arch, ctx: Context) -> Block:
    b = BlockBuilder("encoder.head", "encoder", ctx.formats.dtype)
    x = b.input("x", TOKENS * arch.hidden)
    x = final_norm(arch, b, x)
    # Costs nothing: only says that the decoder reads what the last layer wrote.
    b.op("hand_on", "copy", "copy", reads=(Operand(x),), writes=(Operand(STATES),), count=const(0))
    return b.build([x])


def _when_present(block: Block) -> Block:
    """Every op of the block counts only in steps with fresh sequences."""
    ops = tuple(dataclasses.replace(op, count=op.count * PRESENT) for op in block.ops)
    return dataclasses.replace(block, ops=ops)
