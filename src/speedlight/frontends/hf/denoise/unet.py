"""UNet2DConditionModel: the denoiser of Stable Diffusion 1, 2 and XL (arXiv 2112.10752 §3; arXiv 2307.01952 §2.1)."""

from __future__ import annotations

import dataclasses

from ...._foundation.expr import sym
from ....graph.builder import SEQS, BlockBuilder
from ....graph.ir import Tensor
from ..config import Config
from ..parts import Context
from . import pipelines
from .convolutions import Map, channels_of, conv, doubled, halved, joined, normed, per_level, resnet, transformer
from .pieces import TEXT_ROWS, Built, given, time_embedding, two_layers

_PLAIN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True, "UpBlock2D": False, "CrossAttnUpBlock2D": True}
_SCALE = 8  # pixels a latent position spans on a side, in every autoencoder these models were trained with


@dataclasses.dataclass(frozen=True)
class _Net:
    """What all levels share: builder, embeddings' width, text, heads and transformer depth of each level."""

    ctx: Context
    b: BlockBuilder
    time: str
    inputs: int
    text: str
    text_width: int
    as_linear: bool

    def resnet(self, name: str, m: Map, channels: int) -> Map:
        return resnet(self.ctx, self.b, name, m, channels, self.time, self.inputs)

    def transformer(self, name: str, m: Map, heads: int, depth: int) -> Map:
        return transformer(
            self.ctx, self.b, name, m, heads, depth, self.text, self.text_width, as_linear=self.as_linear
        )


def unet(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """One step over latents of ``height`` × ``width`` pixels; all levels in one block, since skips reach across."""
    levels = channels_of(c, (320, 640, 1280, 1280))
    down = _kinds(c, "down_block_types", ["CrossAttnDownBlock2D"] * (len(levels) - 1) + ["DownBlock2D"], len(levels))
    up = _kinds(c, "up_block_types", ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (len(levels) - 1), len(levels))
    # diffusers' own naming: attention_head_dim counts heads where num_attention_heads is not stated.
    heads = per_level(
        c, "num_attention_heads" if c.get("num_attention_heads") is not None else "attention_head_dim", len(levels), 8
    )
    depth = per_level(c, "transformer_layers_per_block", len(levels), 1, most=64)
    layers = per_level(c, "layers_per_block", len(levels), 2, most=16)
    inputs, words = 4 * levels[0], c.integer("cross_attention_dim", default=1280)
    b = BlockBuilder("unet", "", ctx.formats.dtype)
    text = given(b, "text_states", TEXT_ROWS * words)
    parts = [time_embedding(ctx, b, "time_embedding", inputs, levels[0])]
    if c.get("addition_embed_type") is not None:
        if c.get("addition_embed_type") != "text_time":
            raise c.bad("addition_embed_type", "text_time or null")
        size = c.integer("projection_class_embeddings_input_dim", default=2816)
        parts.append(
            two_layers(
                ctx, b, "add_embedding", given(b, "pooled_text_and_sizes", SEQS * size), size, inputs, SEQS, "silu"
            )
        )
    time = b.elementwise("condition", "silu", parts, SEQS * inputs)
    net = _Net(ctx, b, time, inputs, text, words, c.flag("use_linear_projection"))
    channels = c.integer("in_channels", default=4)
    height, width = sym("height") / _SCALE, sym("width") / _SCALE
    m = Map(given(b, "latents", SEQS * height * width * channels), channels, height, width)
    m = conv(b, "conv_in", m, levels[0])
    skips = [m]
    for i, (kind, size) in enumerate(zip(down, levels, strict=True)):
        for j in range(layers[i]):
            m = net.resnet(f"down_blocks.{i}.resnets.{j}", m, size)
            if kind:
                m = net.transformer(f"down_blocks.{i}.attentions.{j}", m, heads[i], depth[i])
            skips.append(m)
        if i < len(levels) - 1:
            m = halved(b, f"down_blocks.{i}.downsamplers.0", m)
            skips.append(m)
    if c.get("mid_block_type", "UNetMidBlock2DCrossAttn") is not None:
        m = net.resnet("mid_block.resnets.0", m, levels[-1])
        m = net.transformer("mid_block.attentions.0", m, heads[-1], depth[-1])
        m = net.resnet("mid_block.resnets.1", m, levels[-1])
    for i, kind in enumerate(up):
        level = len(levels) - 1 - i
        for j in range(layers[level] + 1):
            m = joined(b, f"up_blocks.{i}.concat.{j}", m, skips.pop())
            m = net.resnet(f"up_blocks.{i}.resnets.{j}", m, levels[level])
            if kind:
                m = net.transformer(f"up_blocks.{i}.attentions.{j}", m, heads[level], depth[level])
        if level:
            m = doubled(b, f"up_blocks.{i}.upsamplers.0", m)
    m = conv(b, "conv_out", normed(b, "conv_norm_out", m), c.integer("out_channels", default=4))
    pixels = _SCALE * c.integer("sample_size", default=64)
    known = (
        pipelines.SDXL if c.get("addition_embed_type") is not None else pipelines.SD2 if words == 1024 else pipelines.SD
    )
    facts = known.facts(None)
    facts["asked"] |= {"height": pixels, "width": pixels}
    return Built((b.build([m.x]),), {"text": 77, "height": pixels, "width": pixels}, facts)


def _kinds(c: Config, name: str, default: list[str], levels: int) -> list[bool]:
    """For each level whether it has transformers."""
    value = c.get(name, default)
    if not isinstance(value, (list, tuple)) or len(value) != levels or any(v not in _PLAIN for v in value):
        raise c.bad(name, f"{levels} of " + ", ".join(_PLAIN))
    return [_PLAIN[v] for v in value]
