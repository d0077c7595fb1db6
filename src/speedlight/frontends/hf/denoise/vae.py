"""AutoencoderKL: pictures to latents and back (arXiv 2112.10752 §3.1)."""

from __future__ import annotations

import dataclasses

from ...._foundation.expr import Expr, sym
from ....graph.builder import SEQS, BlockBuilder
from ....graph.ir import Block, Tensor
from ..config import Config
from ..parts import Context
from .convolutions import Map, channels_of, conv, doubled, halved, normed, resnet, self_attention
from .pieces import Built, given


def autoencoder(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """Both halves; the free sizes ``encode`` and ``decode`` (0 or 1) say which run."""
    levels = channels_of(c, (64,))
    latent, layers = c.integer("latent_channels", default=4), c.integer("layers_per_block", default=1, most=16)
    attends = c.flag("mid_block_add_attention", default=True)
    scale = 2 ** (len(levels) - 1)
    height, width = sym("height"), sym("width")
    b = BlockBuilder("encoder", "encoder", ctx.formats.dtype)
    channels = c.integer("in_channels", default=3)
    m = conv(
        b, "conv_in", Map(given(b, "pixels", SEQS * height * width * channels), channels, height, width), levels[0]
    )
    for i, size in enumerate(levels):
        for j in range(layers):
            m = resnet(ctx, b, f"down_blocks.{i}.resnets.{j}", m, size)
        if i < len(levels) - 1:
            m = halved(b, f"down_blocks.{i}.downsamplers.0", m)
    m = _middle(ctx, b, m, attends=attends)
    m = conv(b, "conv_out", normed(b, "conv_norm_out", m), 2 * latent)
    if c.flag("use_quant_conv", default=True):
        m = conv(b, "quant_conv", m, 2 * latent, kernel=1)
    encoder = b.build([m.x])
    b = BlockBuilder("decoder", "decoder", ctx.formats.dtype)
    height, width = height / scale, width / scale
    m = Map(given(b, "latents", SEQS * height * width * latent), latent, height, width)
    if c.flag("use_post_quant_conv", default=True):
        m = conv(b, "post_quant_conv", m, latent, kernel=1)
    m = _middle(ctx, b, conv(b, "conv_in", m, levels[-1]), attends=attends)
    for i, size in enumerate(reversed(levels)):
        for j in range(layers + 1):
            m = resnet(ctx, b, f"up_blocks.{i}.resnets.{j}", m, size)
        if i < len(levels) - 1:
            m = doubled(b, f"up_blocks.{i}.upsamplers.0", m)
    m = conv(b, "conv_out", normed(b, "conv_norm_out", m), c.integer("out_channels", default=3))
    blocks = (_switched(encoder, sym("encode")), _switched(b.build([m.x]), sym("decode")))
    pixels = c.integer("sample_size", default=512)
    return Built(blocks, {"height": pixels, "width": pixels, "encode": 1, "decode": 1},
                 {"asked": {"height": pixels, "width": pixels}, "optional": ("encode", "decode")})  # fmt: skip


def _middle(ctx: Context, b: BlockBuilder, m: Map, *, attends: bool) -> Map:
    m = resnet(ctx, b, "mid_block.resnets.0", m, m.channels)
    if attends:
        m = self_attention(ctx, b, "mid_block.attentions.0", m, 1, bias=True)
    return resnet(ctx, b, "mid_block.resnets.1", m, m.channels)


def _switched(block: Block, present: Expr) -> Block:
    """The block with every op there or not."""
    ops = tuple(dataclasses.replace(op, count=op.count * present) for op in block.ops)
    return dataclasses.replace(block, ops=ops)
