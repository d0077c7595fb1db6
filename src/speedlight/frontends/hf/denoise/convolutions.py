"""What U-Nets and image autoencoders are made of: convolutions, residual and transformer blocks on feature maps.

Legend: B images (``seqs``), H × W positions of a map, C channels. Every op's rows are B · H · W.
"""

from __future__ import annotations

import dataclasses

from ...._foundation.expr import Expr, const
from ....graph.builder import NEW, SEQS, BlockBuilder
from ....graph.ir import ONE, Operand, Work
from ..config import Config
from ..parts import Context, linear
from .pieces import TEXT, TEXT_ROWS


@dataclasses.dataclass(frozen=True)
class Map:
    """A feature map: its tensor, channels and sides."""

    x: str
    channels: int
    height: Expr
    width: Expr

    @property
    def positions(self) -> Expr:
        return self.height * self.width

    @property
    def rows(self) -> Expr:
        return SEQS * self.positions

    def now(self, x: str, channels: int | None = None) -> Map:
        """The same sides, another tensor."""
        return dataclasses.replace(self, x=x, channels=channels or self.channels)


def conv(b: BlockBuilder, name: str, m: Map, channels: int, kernel: int = 3, stride: int = 1) -> Map:
    """A square convolution that keeps the sides (or divides them by its stride), with bias."""
    out = Map(f"{name}.out", channels, m.height / stride, m.width / stride)
    b.activation(out.x, out.rows * channels)
    weights = [b.weight(f"{name}.weight", channels * m.channels * kernel**2), b.weight(f"{name}.bias", channels)]
    k = m.channels * kernel**2
    b.op(
        name, "conv", "conv2d", reads=(Operand(m.x), *[Operand(w) for w in weights]), writes=(Operand(out.x),),
        work=(Work("matmul", 2 * out.rows * channels * k, b.dtype),),
        dims={
            "m": out.rows, "n": const(channels), "k": const(k), "batch": SEQS, "in_channels": const(m.channels),
            "out_channels": const(channels), "groups": ONE, "in_h": m.height, "in_w": m.width, "out_h": out.height,
            "out_w": out.width, "kernel_h": const(kernel), "kernel_w": const(kernel),
        },
        attrs={"stride": (stride, stride), "padding": (kernel // 2, kernel // 2), "dilation": (1, 1), "groups": 1,
               "transposed": False},
    )  # fmt: skip
    return out


def normed(b: BlockBuilder, name: str, m: Map, act: str = "silu") -> Map:
    """Group norm, then the activation ("" for none)."""
    x = b.norm(f"{name}", "group_norm", m.x, m.rows, m.channels, bias=True)
    return m.now(b.elementwise(f"{name}.act", act, [x], m.rows * m.channels) if act else x)


def resnet(
    ctx: Context, b: BlockBuilder, name: str, m: Map, channels: int, condition: str = "", inputs: int = 0
) -> Map:
    """Two convolutions with norms, the time's embedding added between, a 1 × 1 shortcut where channels change."""
    y = conv(b, f"{name}.conv1", normed(b, f"{name}.norm1", m), channels)
    if condition:
        time = linear(ctx, b, f"{name}.time_emb_proj", condition, channels, inputs, bias=True, rows=SEQS)
        y = y.now(b.elementwise(f"{name}.time_add", "add", [y.x, time], y.rows * channels))
    y = conv(b, f"{name}.conv2", normed(b, f"{name}.norm2", y), channels)
    if m.channels != channels:
        m = conv(b, f"{name}.conv_shortcut", m, channels, kernel=1)
    return y.now(b.elementwise(f"{name}.residual", "add", [y.x, m.x], y.rows * channels))


def halved(b: BlockBuilder, name: str, m: Map) -> Map:
    return conv(b, f"{name}.conv", m, m.channels, stride=2)


def doubled(b: BlockBuilder, name: str, m: Map) -> Map:
    """Nearest neighbours, then a convolution."""
    wide = Map(f"{name}.nearest.out", m.channels, m.height * 2, m.width * 2)
    b.elementwise(f"{name}.nearest", "copy", [m.x], wide.rows * m.channels, kind="copy", out=wide.x)
    return conv(b, f"{name}.conv", wide, m.channels)


def joined(b: BlockBuilder, name: str, m: Map, other: Map) -> Map:
    """Two maps' channels side by side."""
    channels = m.channels + other.channels
    return m.now(b.elementwise(name, "copy", [m.x, other.x], m.rows * channels, kind="copy"), channels)


def heads_attention(
    b: BlockBuilder, name: str, q: str, k: str, v: str, m: Map, heads: int, d: int, length: Expr
) -> str:
    """Full attention of the map's positions over ``length`` keys an image."""
    pairs = m.positions * length
    return b.attention(
        name, q, k, v, heads=heads, kv_heads=heads, qk_dim=d, v_dim=d, causal=False, pairs=pairs, dense_pairs=pairs,
        rows=m.rows, span=length - NEW,
    )  # fmt: skip


def self_attention(ctx: Context, b: BlockBuilder, name: str, m: Map, heads: int, *, bias: bool) -> Map:
    """Group norm, attention of all positions to all, a residual (the middle of an autoencoder)."""
    c, x = m.channels, normed(b, f"{name}.group_norm", m, "").x
    q, k, v = [linear(ctx, b, f"{name}.to_{p}", x, c, c, bias=bias, rows=m.rows) for p in "qkv"]
    out = heads_attention(b, name, q, k, v, m, heads, c // heads, m.positions)
    out = linear(ctx, b, f"{name}.to_out", out, c, c, bias=True, rows=m.rows)
    return m.now(b.elementwise(f"{name}.residual", "add", [out, m.x], m.rows * c))


def transformer(
    ctx: Context,
    b: BlockBuilder,
    name: str,
    m: Map,
    heads: int,
    depth: int,
    text: str,
    text_width: int,
    *,
    as_linear: bool,
) -> Map:
    """Latent diffusion's spatial transformer (arXiv 2112.10752 §3.3): self-attention, attention to the text, GEGLU."""
    c, rows = m.channels, m.rows
    start = normed(b, f"{name}.norm", m, "")
    x = linear(ctx, b, f"{name}.proj_in", start.x, c, c, bias=True, rows=rows) if as_linear else conv(
        b, f"{name}.proj_in", start, c, kernel=1).x  # fmt: skip
    d = c // heads
    for index in range(depth):
        p = f"{name}.transformer_blocks.{index}"
        y = b.norm(f"{p}.norm1", "layer_norm", x, rows, c, bias=True)
        q, k, v = [linear(ctx, b, f"{p}.attn1.to_{s}", y, c, c, rows=rows) for s in "qkv"]
        out = heads_attention(b, f"{p}.attn1", q, k, v, m, heads, d, m.positions)
        out = linear(ctx, b, f"{p}.attn1.to_out", out, c, c, bias=True, rows=rows)
        x = b.elementwise(f"{p}.attn1_residual", "add", [out, x], rows * c)
        y = b.norm(f"{p}.norm2", "layer_norm", x, rows, c, bias=True)
        q = linear(ctx, b, f"{p}.attn2.to_q", y, c, c, rows=rows)
        k, v = [linear(ctx, b, f"{p}.attn2.to_{s}", text, c, text_width, rows=TEXT_ROWS) for s in "kv"]
        out = heads_attention(b, f"{p}.attn2", q, k, v, m, heads, d, TEXT)
        out = linear(ctx, b, f"{p}.attn2.to_out", out, c, c, bias=True, rows=rows)
        x = b.elementwise(f"{p}.attn2_residual", "add", [out, x], rows * c)
        y = b.norm(f"{p}.norm3", "layer_norm", x, rows, c, bias=True)
        up = linear(ctx, b, f"{p}.ff.up", y, 8 * c, c, bias=True, rows=rows)
        inner = b.elementwise(f"{p}.ff.geglu", "gelu", [up], rows * 4 * c)
        down = linear(ctx, b, f"{p}.ff.down", inner, c, 4 * c, bias=True, rows=rows)
        x = b.elementwise(f"{p}.ff_residual", "add", [down, x], rows * c)
    done = linear(ctx, b, f"{name}.proj_out", x, c, c, bias=True, rows=rows) if as_linear else conv(
        b, f"{name}.proj_out", m.now(x), c, kernel=1).x  # fmt: skip
    return m.now(b.elementwise(f"{name}.residual", "add", [done, m.x], rows * c))


def per_level(c: Config, name: str, levels: int, default: int, most: int = 10**5) -> list[int]:
    """One whole number for all levels, or a list of one each."""
    value = c.get(name)
    if isinstance(value, (list, tuple)):
        if len(value) != levels:
            raise c.bad(name, f"{levels} entries, one a level")
        return [Config({name: v}, c.where).integer(name, most=most) for v in value]
    return [c.integer(name, default=default, most=most)] * levels


def channels_of(c: Config, default: tuple[int, ...]) -> list[int]:
    """``block_out_channels``: the channels of each level."""
    value = c.get("block_out_channels", list(default))
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) <= 16:
        raise c.bad("block_out_channels", "a list of channels, one a level")
    return [Config({"block_out_channels": v}, c.where).integer("block_out_channels", most=10**5) for v in value]
