"""A diffusion transformer's step: patches and text in, blocks, patches out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..._foundation.expr import compile_tape, total
from ...graph.builder import SEQS, TOKENS, BlockBuilder
from ...graph.ir import Block, Operand, Tensor
from .arch import Arch, Diffusion
from .ends import shared_weight
from .parts import Context, linear
from .parts.diffusion import joint_block, plain_block, single_block, text_rows

MODULATION = "modulation.in"  # the time embedding, or PixArt's shared scales: read by every block
_TIME = 256  # sinusoids a time step is expanded into (arXiv 2212.09748, appendix A)


def diffusion_blocks(
    arch: Arch, spec: Diffusion, ctx: Context, shared: dict[str, Tensor]
) -> tuple[list[Block], tuple[tuple[str, Any], ...]]:
    """The blocks, and what was assumed while they were made."""
    blocks = [_entry(arch, spec, ctx, shared)]
    if spec.dual:
        blocks.append(_folded("joint_blocks.dual", arch, spec, ctx, spec.dual, partial(joint_block, dual=True)))
    if spec.joint > spec.dual:
        blocks.append(
            _folded("joint_blocks", arch, spec, ctx, spec.joint - spec.dual, partial(joint_block, dual=False))
        )
    if spec.single:
        blocks.append(_folded("single_blocks", arch, spec, ctx, spec.single, single_block))
    if spec.plain:
        blocks.append(_folded("blocks", arch, spec, ctx, spec.plain, plain_block))
    blocks.append(_exit(arch, spec, ctx))
    return blocks, _remainder(arch, spec, ctx, shared, blocks)


def _folded(
    name: str, arch: Arch, spec: Diffusion, ctx: Context, count: int, build: Callable[..., tuple[str, str]]
) -> Block:
    b = BlockBuilder(name, f"{name}.*", ctx.formats.dtype, count)
    x = b.input("x", TOKENS * arch.hidden)
    text = b.input("text", text_rows(spec) * arch.hidden)
    return b.build(build(ctx, b, spec, x, text))


def _entry(arch: Arch, spec: Diffusion, ctx: Context, shared: dict[str, Tensor]) -> Block:
    """Latent patches, text and time into the model's width."""
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    hidden, inputs = arch.hidden, spec.channels * spec.patch
    for name, elements in (("latents", TOKENS * inputs), ("text_states", text_rows(spec) * spec.text_width),
                           ("time", SEQS * _TIME)):  # fmt: skip
        b.tensors[name] = Tensor(name, elements, b.dtype, "input", needs_grad=False)
    x = linear(ctx, b, "patch_embed", "latents", hidden, inputs, bias=True)
    x = b.elementwise("patch_embed.positions", "add", [x], TOKENS * hidden)
    text = linear(ctx, b, "text_embed", "text_states", hidden, spec.text_width, bias=True, rows=text_rows(spec))
    if spec.cross:
        text = b.elementwise("text_embed.act", "gelu_tanh", [text], text_rows(spec) * hidden)
        text = linear(ctx, b, "text_embed.2", text, hidden, hidden, bias=True, rows=text_rows(spec))
    width = 512 if spec.modulation == "low" else hidden
    time = linear(ctx, b, "time_embed.1", "time", width, _TIME, bias=True, rows=SEQS)
    time = b.elementwise("time_embed.act", "silu", [time], SEQS * width)
    time = linear(ctx, b, "time_embed.2", time, width, width, bias=True, rows=SEQS)
    if spec.modulation == "shared":
        time = linear(ctx, b, "time_embed.modulation", time, 6 * width, width, bias=True, rows=SEQS)
        width = 6 * width
    shared[MODULATION] = Tensor(MODULATION, SEQS * width, b.dtype)
    b.op("time_embed.hand_on", "elementwise", "silu", reads=(Operand(time),), writes=(Operand(MODULATION),),
         work=b.element_work("silu", SEQS * width))  # fmt: skip
    return b.build([x, text])


def _exit(arch: Arch, spec: Diffusion, ctx: Context) -> Block:
    """A modulated norm and the projection back to latent patches."""
    b = BlockBuilder("head", "", ctx.formats.dtype)
    hidden = arch.hidden
    x = b.input("x", TOKENS * hidden)
    by = [MODULATION]
    if spec.modulation == "full":
        by = [linear(ctx, b, "norm_out.linear", MODULATION, 2 * hidden, hidden, bias=True, rows=SEQS)]
    x = b.norm("norm_out", "layer_norm", x, TOKENS, hidden, weight=False)
    x = b.elementwise("norm_out.modulate", "scale", [x, *by], TOKENS * hidden)
    return b.build([linear(ctx, b, "proj_out", x, spec.channels * spec.patch, hidden, bias=True)])


def _remainder(
    arch: Arch, spec: Diffusion, ctx: Context, shared: dict[str, Tensor], blocks: list[Block]
) -> tuple[tuple[str, Any], ...]:
    """Parameters the generic blocks leave over against the published number: kept as one weight, in no op."""
    sizes = [t.elements * block.count for block in blocks for t in block.tensors.values() if t.cls == "weight"]
    counted = compile_tape([total(sizes)]).run({name: dim.size for name, dim in ctx.dims.items()})[0]
    rest = spec.params - int(counted)
    if not spec.params:
        return ()
    if rest > 0:
        shared_weight(shared, "unattributed", rest, ctx.formats.dtype)
    share = abs(rest) / spec.params
    word = "kept in memory, in no operator" if rest > 0 else "more than published"
    return (("generic diffusion blocks", f"{share:.1%} of the published parameters {word}"),)
