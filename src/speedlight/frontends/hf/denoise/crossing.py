"""One-stream transformers: DiT (arXiv 2212.09748), PixArt (arXiv 2310.00426), Wan (arXiv 2503.20314), LTX-Video
(arXiv 2501.00103), which cross-attend to the text; CogVideoX (arXiv 2408.06072), where text is part of the sequence."""

from __future__ import annotations

import math

from ...._foundation.expr import const
from ....graph.builder import NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Block, Operand, Tensor
from ..config import Config
from ..parts import Context, linear
from . import pipelines
from .pieces import (
    CONDITION,
    TEXT,
    TEXT_ROWS,
    Built,
    Stream,
    attend,
    feed_forward,
    gated_add,
    given,
    hand_condition,
    image_stream,
    modulated,
    modulation,
    patches,
    projected,
    repeated,
    time_embedding,
    two_layers,
    way_out,
)  # fmt: skip

_NEVER = const(0)
_TABLES = "modulation.in"  # six scales, shifts and gates that all blocks share, each adds a table of its own


def dit(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """DiT: classes, no text; every block has embeddings of time and class of its own."""
    heads, d = c.integer("num_attention_heads", default=16), c.integer("attention_head_dim", default=72)
    width, side = heads * d, c.integer("patch_size", default=2)
    channels = c.integer("in_channels", default=4)
    classes = c.integer("num_embeds_ada_norm", default=1000)
    bias = c.flag("attention_bias", default=True)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = b.elementwise("pos_embed.add", "add", [patches(b, "pos_embed.proj", channels, side**2, width)], TOKENS * width)
    blocks = [b.build([x])]
    b, x, _ = repeated("transformer_blocks", ctx, c.layers("num_layers", default=28), width)
    time = time_embedding(ctx, b, "norm1.time_embed", width)
    table = b.weight("norm1.class_embed.weight", (classes + 1) * width)
    label = b.embedding("norm1.class_embed", table, SEQS, width)
    condition = b.elementwise("norm1.condition", "silu", [time, label], SEQS * width)
    by = linear(ctx, b, "norm1.linear", condition, 6 * width, width, bias=True, rows=SEQS)
    normed = modulated(b, "norm1", x, TOKENS, width, by)
    q, k, v = projected(ctx, b, "attn1", normed, heads, d, width, TOKENS, bias=bias)
    [out] = attend(ctx, b, "attn1", [(q, image_stream(q))], [k], [v], NEW, heads, d)
    x = gated_add(b, "attn1_residual", way_out(ctx, b, "attn1.to_out", out, heads, d, width, TOKENS), x, TOKENS, width)
    act = _activation(c)
    fed = feed_forward(ctx, b, "ff", modulated(b, "norm3", x, TOKENS, width, by), TOKENS, width, 4 * width, act)
    blocks.append(b.build([gated_add(b, "ff_residual", fed, x, TOKENS, width)]))
    b = BlockBuilder("head", "", ctx.formats.dtype)
    x = b.input("x", TOKENS * width)
    # The first block's embeddings are computed once more, with its weights.
    again = [
        b.linear(f"time_embed.{i}", source, width, inputs, rows=SEQS, weight=name)
        for i, (source, inputs, name) in enumerate(_again(b, shared, width))
    ]
    by = linear(ctx, b, "proj_out_1", again[-1], 2 * width, width, bias=True, rows=SEQS)
    x = modulated(b, "norm_out", x, TOKENS, width, by)
    out_channels = c.integer("out_channels", default=channels)
    blocks.append(b.build([linear(ctx, b, "proj_out_2", x, side**2 * out_channels, width, bias=True)]))
    facts = pipelines.DIT.facts(pipelines.picture_tokens(8 * side))
    facts["asked"] |= dict.fromkeys(("height", "width"), 8 * c.integer("sample_size", default=32))
    return Built(tuple(blocks), facts=facts)


def _again(b: BlockBuilder, shared: dict[str, Tensor], width: int) -> list[tuple[str, int, str]]:
    """Sources, input widths and (constant: they are the first block's) weights of the head's own time embedding."""
    found = []
    for index, inputs in enumerate((256, width)):
        name = f"time_embed.{index}.first_block"
        b.tensors[name] = Tensor(name, const(inputs * width), b.dtype, "constant", needs_grad=False)
        source = given(b, "time_embed.sinusoids", SEQS * inputs) if index == 0 else "time_embed.0.out"
        found.append((source, inputs, name))
    return found


def pixart(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """PixArt-α and Σ: one modulation for all blocks, a table in each; caption projected once."""
    heads, d = c.integer("num_attention_heads", default=16), c.integer("attention_head_dim", default=72)
    width, side = heads * d, c.integer("patch_size", default=2)
    words = c.integer("caption_channels", default=4096)
    bias = c.flag("attention_bias", default=True)
    sized = c.integer("sample_size", default=128) == 128
    if c.get("use_additional_conditions") is not None:
        sized = c.flag("use_additional_conditions")
    channels = c.integer("in_channels", default=4)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = b.elementwise("pos_embed.add", "add", [patches(b, "pos_embed.proj", channels, side**2, width)], TOKENS * width)
    parts = [time_embedding(ctx, b, "adaln_single.time_embed", width)]
    if sized:  # the picture's sides and their ratio, a third of the width each
        third = width // 3
        sides = given(b, "sides", SEQS * 2 * 256)
        parts.append(two_layers(ctx, b, "adaln_single.resolution_embed", sides, 256, third, 2 * SEQS, "silu"))
        parts.append(time_embedding(ctx, b, "adaln_single.aspect_embed", third))
    _shared_modulation(ctx, b, shared, parts, width)
    text = _caption(ctx, b, words, width)
    blocks = [b.build([x, text])]
    b, x, text = repeated("transformer_blocks", ctx, c.layers("num_layers", default=28), width, text=width)
    crossing = c.integer("cross_attention_dim", default=width)
    x = _crossing_block(ctx, b, x, text, width, heads, d, 4 * width, norm="none", bias=bias, text_width=crossing,
                        act=_activation(c))  # fmt: skip
    blocks.append(b.build([x, text]))
    out = side**2 * c.integer("out_channels", default=channels)
    known = pipelines.PIXART_ALPHA if sized else pipelines.PIXART_SIGMA
    facts = known.facts(pipelines.picture_tokens(8 * side))
    facts["asked"] |= dict.fromkeys(("height", "width"), 8 * c.integer("sample_size", default=128))
    return Built((*blocks, _exit(ctx, width, out)), {"text": known.encoders[0][1]}, facts)


def wan(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """Wan 2.1 text-to-video: queries and keys normed over all heads, a learned norm before cross-attention."""
    heads, d = c.integer("num_attention_heads", default=40), c.integer("attention_head_dim", default=128)
    width, sides = heads * d, _sides(c, (1, 2, 2))
    volume = math.prod(sides)
    if c.get("image_dim") is not None or c.get("added_kv_proj_dim") is not None:
        raise c.bad(
            "image_dim" if c.get("image_dim") is not None else "added_kv_proj_dim", "null: text-to-video models"
        )
    channels = c.integer("in_channels", default=16)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = patches(b, "patch_embedding", channels, volume, width)
    time = time_embedding(ctx, b, "condition_embedder.time_embed", width, c.integer("freq_dim", default=256))
    _shared_modulation(ctx, b, shared, [time], width)
    text = _caption(ctx, b, c.integer("text_dim", default=4096), width)
    blocks = [b.build([x, text])]
    b, x, text = repeated("blocks", ctx, c.layers("num_layers", default=40), width, text=width)
    x = _crossing_block(
        ctx, b, x, text, width, heads, d, c.integer("ffn_dim", default=13824),
        norm="full" if c.get("qk_norm", "rms_norm_across_heads") else "none", bias=True, text_width=width,
        cross_norm=c.flag("cross_attn_norm", default=True),
    )  # fmt: skip
    blocks.append(b.build([x, text]))
    head = _exit(ctx, width, volume * c.integer("out_channels", default=16))
    depth, side = sides[0], sides[1]
    return Built((*blocks, head), {"text": 512}, pipelines.WAN.facts(pipelines.video_tokens(8 * side, 4, depth)))


def ltx(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """LTX-Video: latents 32 times smaller on a side, so that a token is a latent position."""
    heads, d = c.integer("num_attention_heads", default=32), c.integer("attention_head_dim", default=64)
    width, channels = heads * d, c.integer("in_channels", default=128)
    volume = c.integer("patch_size", default=1) ** 2 * c.integer("patch_size_t", default=1)
    if volume != 1:
        raise c.bad("patch_size", "1, as published")
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = linear(ctx, b, "proj_in", given(b, "latents", TOKENS * channels), width, channels, bias=True)
    _shared_modulation(ctx, b, shared, [time_embedding(ctx, b, "time_embed", width)], width)
    text = _caption(ctx, b, c.integer("caption_channels", default=4096), width)
    blocks = [b.build([x, text])]
    b, x, text = repeated("transformer_blocks", ctx, c.layers("num_layers", default=28), width, text=width)
    x = _crossing_block(
        ctx, b, x, text, width, heads, d, 4 * width, norm="full", bias=c.flag("attention_bias", default=True),
        text_width=c.integer("cross_attention_dim", default=2048), act=_activation(c), norm_fn="rms_norm",
    )  # fmt: skip
    blocks.append(b.build([x, text]))
    head = _exit(ctx, width, c.integer("out_channels", default=128))
    return Built((*blocks, head), {"text": 128}, pipelines.LTX.facts(pipelines.video_tokens(32, 8)))


def cogvideox(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """CogVideoX and 1.5: one sequence of text and video, norms modulated apart."""
    heads, d = c.integer("num_attention_heads", default=30), c.integer("attention_head_dim", default=64)
    width, inputs = heads * d, c.integer("time_embed_dim", default=512)
    side, deep = c.integer("patch_size", default=2), c.get("patch_size_t")
    volume = side**2 * (c.integer("patch_size_t") if deep is not None else 1)
    channels, words = c.integer("in_channels", default=16), c.integer("text_embed_dim", default=4096)
    learned = c.flag("norm_elementwise_affine", default=True)
    bias = c.flag("attention_bias", default=True)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = patches(
        b, "patch_embed.proj", channels, volume, width, bias=deep is not None or c.flag("patch_bias", default=True)
    )
    states = given(b, "text_states", TEXT_ROWS * words)
    text = linear(ctx, b, "patch_embed.text_proj", states, width, words, bias=True, rows=TEXT_ROWS)
    if c.flag("use_learned_positional_embeddings"):
        raise c.bad("use_learned_positional_embeddings", "false: positions are computed")
    parts = [time_embedding(ctx, b, "time_embedding", inputs, width)]
    if c.get("ofs_embed_dim") is not None:
        of = c.integer("ofs_embed_dim")
        parts.append(time_embedding(ctx, b, "ofs_embedding", of, of))
    hand_condition(b, shared, parts, inputs)
    blocks = [b.build([x, text])]
    b, x, text = repeated("transformer_blocks", ctx, c.layers("num_layers", default=30), width, text=width)
    rows, whole = TOKENS + TEXT_ROWS, NEW + TEXT
    joined = b.elementwise("concat", "copy", [text, x], rows * width, kind="copy")
    by = modulation(ctx, b, "norm1", 6, width, inputs)
    normed = modulated(b, "norm1", joined, rows, width, by, learned=learned)
    q, k, v = projected(ctx, b, "attn1", normed, heads, d, width, rows, bias=bias, norm="layer", norm_bias=True)
    [out] = attend(ctx, b, "attn1", [(q, Stream(q, rows, whole))], [k], [v], whole, heads, d)
    joined = gated_add(
        b, "attn1_residual", way_out(ctx, b, "attn1.to_out", out, heads, d, width, rows), joined, rows, width
    )
    by = modulation(ctx, b, "norm2", 6, width, inputs)
    normed = modulated(b, "norm2", joined, rows, width, by, learned=learned)
    fed = feed_forward(ctx, b, "ff", normed, rows, width, 4 * width, _activation(c))
    joined = gated_add(b, "ff_residual", fed, joined, rows, width)
    first = b.elementwise("split.img", "copy", [joined], TOKENS * width, kind="copy", count=_NEVER)
    second = b.elementwise("split.txt", "copy", [joined], TEXT_ROWS * width, kind="copy", count=_NEVER)
    blocks.append(b.build([first, second]))
    b = BlockBuilder("head", "", ctx.formats.dtype)
    x, text = b.input("x", TOKENS * width), b.input("text_in", TEXT_ROWS * width)
    x = b.norm("norm_final", "layer_norm", x, TOKENS, width, weight=learned, bias=learned)
    by = linear(ctx, b, "norm_out.linear", CONDITION, 2 * width, inputs, bias=True, rows=SEQS)
    x = modulated(b, "norm_out", x, TOKENS, width, by, learned=learned)
    out_channels = c.integer("out_channels", default=16)
    blocks.append(b.build([linear(ctx, b, "proj_out", x, volume * out_channels, width, bias=True)]))
    known = pipelines.COGVIDEOX if deep is None else pipelines.COGVIDEOX_15
    length = pipelines.video_tokens(8 * side, 4, volume // side**2)
    return Built(tuple(blocks), {"text": c.integer("max_text_seq_length", default=226)}, known.facts(length))


def _sides(c: Config, default: tuple[int, int, int]) -> list[int]:
    """Latent pictures, rows and columns a token spans."""
    sides = c.get("patch_size", list(default))
    if (
        not isinstance(sides, (list, tuple))
        or len(sides) != 3
        or not all(isinstance(s, int) and 0 < s < 1024 for s in sides)
    ):
        raise c.bad("patch_size", "a list of three sides")
    return list(sides)


def _activation(c: Config) -> str:
    name = c.word("activation_fn", default="gelu-approximate")
    if name not in ("gelu-approximate", "gelu", "linear-silu"):
        raise c.bad("activation_fn", "gelu-approximate or gelu")
    return {"gelu": "gelu", "linear-silu": "silu"}.get(name, "gelu_tanh")


def _shared_modulation(ctx: Context, b: BlockBuilder, shared: dict[str, Tensor], parts: list[str], width: int) -> None:
    condition = b.elementwise("condition", "silu", parts, SEQS * width)
    six = linear(ctx, b, "adaln_single.linear", condition, 6 * width, width, bias=True, rows=SEQS)
    shared[_TABLES] = Tensor(_TABLES, SEQS * 6 * width, b.dtype)
    shared[CONDITION] = Tensor(CONDITION, SEQS * width, b.dtype)
    for name, source in ((_TABLES, six), (CONDITION, condition)):
        b.op(f"{name}.hand_on", "copy", "copy", reads=(Operand(source),), writes=(Operand(name),), count=_NEVER)


def _caption(ctx: Context, b: BlockBuilder, inputs: int, width: int) -> str:
    states = given(b, "text_states", TEXT_ROWS * inputs)
    return two_layers(ctx, b, "caption_projection", states, inputs, width, TEXT_ROWS, "gelu_tanh")


def _crossing_block(
    ctx: Context, b: BlockBuilder, x: str, text: str, width: int, heads: int, d: int, inner: int, *, norm: str, bias: bool,
    text_width: int, cross_norm: bool = False, act: str = "gelu_tanh", norm_fn: str = "layer_norm",
) -> str:  # fmt: skip
    """Attention to the image, attention to the text, feed-forward; scales from the shared modulation and a table."""
    table = b.weight("scale_shift_table", 6 * width)
    by = b.elementwise("modulation", "add", [_TABLES], SEQS * 6 * width, weights=[table])
    normed = modulated(b, "norm1", x, TOKENS, width, by, fn=norm_fn)
    q, k, v = projected(ctx, b, "attn1", normed, heads, d, width, TOKENS, bias=bias, norm=norm)
    [out] = attend(ctx, b, "attn1", [(q, image_stream(q))], [k], [v], NEW, heads, d)
    x = gated_add(b, "attn1_residual", way_out(ctx, b, "attn1.to_out", out, heads, d, width, TOKENS), x, TOKENS, width)
    source = b.norm("norm2", "layer_norm", x, TOKENS, width, bias=True) if cross_norm else x
    [q] = projected(ctx, b, "attn2", source, heads, d, width, TOKENS, bias=bias, norm=norm, names=("to_q",))
    k, v = projected(
        ctx, b, "attn2", text, heads, d, text_width, TEXT_ROWS, bias=bias, norm=norm, names=("to_k", "to_v")
    )
    [out] = attend(ctx, b, "attn2", [(q, image_stream(q))], [k], [v], TEXT, heads, d)
    mixed = way_out(ctx, b, "attn2.to_out", out, heads, d, width, TOKENS)
    x = b.elementwise("attn2_residual", "add", [mixed, x], TOKENS * width)
    fed = feed_forward(ctx, b, "ff", modulated(b, "norm3", x, TOKENS, width, by, fn=norm_fn), TOKENS, width, inner, act)
    return gated_add(b, "ff_residual", fed, x, TOKENS, width)


def _exit(ctx: Context, width: int, channels: int) -> Block:
    b = BlockBuilder("head", "", ctx.formats.dtype)
    x, _ = b.input("x", TOKENS * width), b.input("text_in", TEXT_ROWS * width)
    table = b.weight("scale_shift_table", 2 * width)
    by = b.elementwise("modulation", "add", [CONDITION], SEQS * 2 * width, weights=[table])
    x = modulated(b, "norm_out", x, TOKENS, width, by)
    return b.build([linear(ctx, b, "proj_out", x, channels, width, bias=True)])
