"""Two-stream transformers: SD3 (MMDiT, arXiv 2403.03206), FLUX, HunyuanVideo (arXiv 2412.03603), Mochi.

Image and text have weights of their own and attend to each other; FLUX and HunyuanVideo end in one-stream blocks.
"""

from __future__ import annotations

from ...._foundation.expr import Expr, const
from ....graph.builder import NEW, SEQS, TOKENS, BlockBuilder
from ....graph.ir import Block, Tensor
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
    text_stream,
    time_embedding,
    two_layers,
    way_out,
)  # fmt: skip

_NEVER = const(0)  # count of an op that only names a view


def flux(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """FLUX.1: 19 two-stream and 38 one-stream blocks; guidance enters as an embedding where it was distilled."""
    heads, d = c.integer("num_attention_heads", default=24), c.integer("attention_head_dim", default=128)
    width, channels = heads * d, c.integer("in_channels", default=64)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = linear(ctx, b, "x_embedder", given(b, "latents", TOKENS * channels), width, channels, bias=True)
    text = _text_in(ctx, b, c.integer("joint_attention_dim", default=4096), width)
    parts = [time_embedding(ctx, b, "time_embed", width)]
    if c.flag("guidance_embeds"):
        parts.append(time_embedding(ctx, b, "guidance_embed", width))
    parts.append(_pooled(ctx, b, c.integer("pooled_projection_dim", default=768), width))
    hand_condition(b, shared, parts, width)
    blocks = [b.build([x, text])]
    blocks += _joint_blocks(ctx, c.layers("num_layers", default=19), width, heads, d, "head")
    blocks += _single_blocks(ctx, c.layers("num_single_layers", default=38), width, heads, d, 4 * width, "head")
    out = c.integer("out_channels", default=channels) * c.integer("patch_size", default=1) ** 2
    return Built((*blocks, _exit(ctx, width, out)), {"text": 512}, pipelines.FLUX.facts(pipelines.picture_tokens(16)))


def sd3(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """Stable Diffusion 3 and 3.5: the last block hands no text on; some blocks attend to the image once more on its own."""
    heads, d = c.integer("num_attention_heads", default=18), c.integer("attention_head_dim", default=64)
    width, side = heads * d, c.integer("patch_size", default=2)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = patches(b, "pos_embed.proj", c.integer("in_channels", default=16), side**2, width)
    x = b.elementwise("pos_embed.add", "add", [x], TOKENS * width)
    text = _text_in(ctx, b, c.integer("joint_attention_dim", default=4096), width)
    parts = [
        time_embedding(ctx, b, "time_embed", width),
        _pooled(ctx, b, c.integer("pooled_projection_dim", default=2048), width),
    ]
    hand_condition(b, shared, parts, width)
    count = c.layers("num_layers", default=18)
    listed = c.get("dual_attention_layers") or ()
    dual = (
        sum(1 for i in listed if isinstance(i, int) and 0 <= i < count - 1) if isinstance(listed, (list, tuple)) else 0
    )
    norm = "head" if c.get("qk_norm") else "none"
    blocks = [b.build([x, text])]
    if dual:
        blocks += _joint_blocks(ctx, dual, width, heads, d, norm, dual=True)
    blocks += _joint_blocks(ctx, count - 1 - dual, width, heads, d, norm)
    blocks += _joint_blocks(ctx, 1, width, heads, d, norm, last=True)
    head = _exit(ctx, width, side**2 * c.integer("out_channels", default=16))
    facts = pipelines.SD3.facts(pipelines.picture_tokens(8 * side))
    return Built((*blocks, head), {"text": 333}, facts)


def hunyuan_video(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """HunyuanVideo: text from a language model is refined by two small blocks first."""
    heads, d = c.integer("num_attention_heads", default=24), c.integer("attention_head_dim", default=128)
    width, inner = heads * d, int(heads * d * c.number("mlp_ratio", 4.0))
    norm = "head" if c.word("qk_norm", default="rms_norm") == "rms_norm" else "none"
    side, depth = c.integer("patch_size", default=2), c.integer("patch_size_t", default=1)
    words = c.integer("text_embed_dim", default=4096)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = patches(b, "x_embedder.proj", c.integer("in_channels", default=16), side**2 * depth, width)
    states = given(b, "text_states", TEXT_ROWS * words)
    mean = b.elementwise(
        "context_embedder.pool", "add", [states], SEQS * words, kind="reduction", work_elements=TEXT_ROWS * words
    )
    refine = two_layers(ctx, b, "context_embedder.text_embed", mean, words, width, SEQS, "silu")
    refine_time = time_embedding(ctx, b, "context_embedder.time_embed", width)
    refine = b.elementwise("context_embedder.condition", "silu", [refine, refine_time], SEQS * width)
    text = linear(ctx, b, "context_embedder.proj_in", states, width, words, bias=True, rows=TEXT_ROWS)
    for index in range(c.integer("num_refiner_layers", default=2, least=0, most=64)):
        text = _refined(ctx, b, f"context_embedder.refiner.{index}", text, refine, width, heads, d, inner)
    parts = [time_embedding(ctx, b, "time_embed", width)]
    if c.flag("guidance_embeds", default=True):
        parts.append(time_embedding(ctx, b, "guidance_embed", width))
    parts.append(_pooled(ctx, b, c.integer("pooled_projection_dim", default=768), width))
    hand_condition(b, shared, parts, width)
    blocks = [b.build([x, text])]
    blocks += _joint_blocks(ctx, c.layers("num_layers", default=20), width, heads, d, norm, inner=inner)
    blocks += _single_blocks(ctx, c.layers("num_single_layers", default=40), width, heads, d, inner, norm)
    head = _exit(ctx, width, side**2 * depth * c.integer("out_channels", default=16))
    return Built((*blocks, head), {"text": 256}, pipelines.HUNYUAN.facts(pipelines.video_tokens(8 * side, 4, depth)))


def _refined(
    ctx: Context, b: BlockBuilder, name: str, text: str, by: str, width: int, heads: int, d: int, inner: int
) -> str:
    scale = linear(ctx, b, f"{name}.norm_out.linear", by, 2 * width, width, bias=True, rows=SEQS)
    normed = b.norm(f"{name}.norm1", "layer_norm", text, TEXT_ROWS, width, bias=True)
    q, k, v = projected(ctx, b, f"{name}.attn", normed, heads, d, width, TEXT_ROWS)
    [out] = attend(ctx, b, f"{name}.attn", [(q, text_stream(q))], [k], [v], TEXT, heads, d)
    out = way_out(ctx, b, f"{name}.attn.to_out", out, heads, d, width, TEXT_ROWS)
    text = b.elementwise(f"{name}.attn_residual", "add", [out, text, scale], TEXT_ROWS * width)
    normed = b.norm(f"{name}.norm2", "layer_norm", text, TEXT_ROWS, width, bias=True)
    fed = feed_forward(ctx, b, f"{name}.ff", normed, TEXT_ROWS, width, inner, "silu")
    return b.elementwise(f"{name}.ff_residual", "add", [fed, text, scale], TEXT_ROWS * width)


def mochi(c: Config, ctx: Context, shared: dict[str, Tensor]) -> Built:
    """Mochi 1: an asymmetric pair of streams, the text's half as wide; SwiGLU, RMS norms, no biases inside."""
    heads, d = c.integer("num_attention_heads", default=24), c.integer("attention_head_dim", default=128)
    width, narrow = heads * d, c.integer("pooled_projection_dim", default=1536)
    side, words = c.integer("patch_size", default=2), c.integer("text_embed_dim", default=4096)
    b = BlockBuilder("embed", "", ctx.formats.dtype)
    x = patches(b, "patch_embed.proj", c.integer("in_channels", default=12), side**2, width)
    b.weight("pos_frequencies", 3 * heads * (d // 2))
    states = given(b, "text_states", TEXT_ROWS * words)
    # One query, the mean of the text, attends over the text and itself.
    pool = "time_embed.pooler"
    kv = linear(ctx, b, f"{pool}.to_kv", states, 2 * words, words, bias=True, rows=TEXT_ROWS + SEQS)
    mean = b.elementwise(
        f"{pool}.mean", "add", [states], SEQS * words, kind="reduction", work_elements=TEXT_ROWS * words
    )
    q = linear(ctx, b, f"{pool}.to_q", mean, words, words, bias=True, rows=SEQS)
    of = 8
    out = b.attention(
        f"{pool}.attn", q, kv, None, heads=of, kv_heads=of, qk_dim=words // of, v_dim=words // of, causal=False,
        pairs=TEXT + 1, dense_pairs=TEXT + 1, rows=SEQS, span=TEXT + 1 - NEW,
    )  # fmt: skip
    pooled = linear(ctx, b, f"{pool}.to_out", out, width, words, bias=True, rows=SEQS)
    text = linear(ctx, b, "time_embed.caption_proj", states, narrow, words, bias=True, rows=TEXT_ROWS)
    hand_condition(b, shared, [time_embedding(ctx, b, "time_embed", width), pooled], width)
    count = c.layers("num_layers", default=48)
    blocks = [b.build([x, text])]
    if count > 1:
        blocks.append(_mochi_block(ctx, count - 1, width, narrow, heads, d, last=False))
    blocks.append(_mochi_block(ctx, 1, width, narrow, heads, d, last=True))
    out_channels = c.integer("out_channels", default=c.integer("in_channels", default=12))
    head = _exit(ctx, width, side**2 * out_channels, text=narrow)
    return Built((*blocks, head), {"text": 256}, pipelines.MOCHI.facts(pipelines.video_tokens(8 * side, 6)))


def _mochi_block(ctx: Context, count: int, width: int, narrow: int, heads: int, d: int, *, last: bool) -> Block:
    b, x, text = repeated("transformer_blocks.last" if last else "transformer_blocks", ctx, count, width, text=narrow)
    by = modulation(ctx, b, "norm1", 4, width)
    by_text = modulation(ctx, b, "norm1_context", 1 if last else 4, narrow, width)
    image = modulated(b, "norm1", x, TOKENS, width, by, fn="rms_norm")
    words = modulated(b, "norm1_context", text, TEXT_ROWS, narrow, by_text, fn="rms_norm")
    q, k, v = projected(ctx, b, "attn1", image, heads, d, width, TOKENS, bias=False, norm="head")
    qt, kt, vt = projected(ctx, b, "attn1", words, heads, d, narrow, TEXT_ROWS, bias=False, norm="head",
                           names=("add_q_proj", "add_k_proj", "add_v_proj"))  # fmt: skip
    out, out_text = attend(
        ctx, b, "attn1", [(q, image_stream(q)), (qt, text_stream(qt))], [k, kt], [v, vt], NEW + TEXT, heads, d
    )
    x = _mochi_half(ctx, b, "", way_out(ctx, b, "attn1.to_out", out, heads, d, width, TOKENS), x, TOKENS, width)
    if not last:
        mixed = way_out(ctx, b, "attn1.to_add_out", out_text, heads, d, narrow, TEXT_ROWS)
        text = _mochi_half(ctx, b, "_context", mixed, text, TEXT_ROWS, narrow)
    return b.build([x, text])


def _mochi_half(ctx: Context, b: BlockBuilder, which: str, out: str, x: str, n: Expr, width: int) -> str:
    out = b.norm(f"norm2{which}", "rms_norm", out, n, width, weight=False)
    x = gated_add(b, f"attn_residual{which}", out, x, n, width)
    normed = b.norm(f"norm3{which}", "rms_norm", x, n, width, weight=False)
    fed = feed_forward(ctx, b, f"ff{which}", normed, n, width, 4 * width * 2 // 3, "silu", gated=True, bias=False)
    fed = b.norm(f"norm4{which}", "rms_norm", fed, n, width, weight=False)
    return gated_add(b, f"ff_residual{which}", fed, x, n, width)


def _text_in(ctx: Context, b: BlockBuilder, inputs: int, width: int) -> str:
    states = given(b, "text_states", TEXT_ROWS * inputs)
    return linear(ctx, b, "context_embedder", states, width, inputs, bias=True, rows=TEXT_ROWS)


def _pooled(ctx: Context, b: BlockBuilder, inputs: int, width: int) -> str:
    return two_layers(ctx, b, "text_embed", given(b, "pooled_text", SEQS * inputs), inputs, width, SEQS, "silu")


def _joint_blocks(
    ctx: Context,
    count: int,
    width: int,
    heads: int,
    d: int,
    norm: str,
    *,
    inner: int = 0,
    dual: bool = False,
    last: bool = False,
) -> list[Block]:
    """``count`` two-stream blocks (none where 0)."""
    if count < 1:
        return []
    name = "transformer_blocks" + (".dual" if dual else ".last" if last else "")
    b, x, text = repeated(name, ctx, count, width, text=width)
    by = modulation(ctx, b, "norm1", 9 if dual else 6, width)
    by_text = modulation(ctx, b, "norm1_context", 2 if last else 6, width)
    image = modulated(b, "norm1", x, TOKENS, width, by)
    words = modulated(b, "norm1_context", text, TEXT_ROWS, width, by_text)
    q, k, v = projected(ctx, b, "attn", image, heads, d, width, TOKENS, norm=norm)
    qt, kt, vt = projected(ctx, b, "attn", words, heads, d, width, TEXT_ROWS, norm=norm,
                           names=("add_q_proj", "add_k_proj", "add_v_proj"))  # fmt: skip
    out, out_text = attend(
        ctx, b, "attn", [(q, image_stream(q)), (qt, text_stream(qt))], [k, kt], [v, vt], NEW + TEXT, heads, d
    )
    mixed = way_out(ctx, b, "attn.to_out", out, heads, d, width, TOKENS)
    x = gated_add(b, "attn_residual", mixed, x, TOKENS, width)
    if dual:
        q, k, v = projected(ctx, b, "attn2", image, heads, d, width, TOKENS, norm=norm)
        [out] = attend(ctx, b, "attn2", [(q, image_stream(q))], [k], [v], NEW, heads, d)
        mixed = way_out(ctx, b, "attn2.to_out", out, heads, d, width, TOKENS)
        x = gated_add(b, "attn2_residual", mixed, x, TOKENS, width)
    fed = feed_forward(ctx, b, "ff", modulated(b, "norm2", x, TOKENS, width, by), TOKENS, width, inner or 4 * width)
    x = gated_add(b, "ff_residual", fed, x, TOKENS, width)
    if not last:
        mixed = way_out(ctx, b, "attn.to_add_out", out_text, heads, d, width, TEXT_ROWS)
        text = gated_add(b, "attn_residual_context", mixed, text, TEXT_ROWS, width)
        words = modulated(b, "norm2_context", text, TEXT_ROWS, width, by_text)
        fed = feed_forward(ctx, b, "ff_context", words, TEXT_ROWS, width, inner or 4 * width)
        text = gated_add(b, "ff_residual_context", fed, text, TEXT_ROWS, width)
    return [b.build([x, text])]


def _single_blocks(ctx: Context, count: int, width: int, heads: int, d: int, inner: int, norm: str) -> list[Block]:
    """One-stream blocks: attention and feed-forward read one normed sequence and share the way out."""
    if count < 1:
        return []
    b, x, text = repeated("single_transformer_blocks", ctx, count, width, text=width)
    rows, whole = TOKENS + TEXT_ROWS, NEW + TEXT
    by = modulation(ctx, b, "norm", 3, width)
    joined = b.elementwise("concat_in", "copy", [text, x], rows * width, kind="copy")
    normed = modulated(b, "norm", joined, rows, width, by)
    q, k, v = projected(ctx, b, "attn", normed, heads, d, width, rows, norm=norm)
    f, f_name = ctx.dim("ffn", inner, "ffn")
    up = linear(ctx, b, "proj_mlp", normed, f, width, bias=True, rows=rows)
    up = b.elementwise("act_mlp", "gelu_tanh", [up], rows * f)
    [out] = attend(ctx, b, "attn", [(q, Stream(q, rows, whole))], [k], [v], whole, heads, d)
    h, h_name = ctx.dim("heads", heads, "heads")
    both = b.elementwise("concat", "copy", [out, up], rows * (h * d + f), kind="copy")
    done = linear(
        ctx, b, "proj_out", both, width, h * d + f, bias=True, rows=rows, exchanges=[("reduce", (h_name, f_name))]
    )
    done = gated_add(b, "residual", done, joined, rows, width)
    first = b.elementwise("split.img", "copy", [done], TOKENS * width, kind="copy", work_elements=0, count=_NEVER)
    second = b.elementwise("split.txt", "copy", [done], TEXT_ROWS * width, kind="copy", work_elements=0, count=_NEVER)
    return [b.build([first, second])]


def _exit(ctx: Context, width: int, channels: int, *, text: int = 0) -> Block:
    """A modulated norm and the projection back to latent patches."""
    b = BlockBuilder("head", "", ctx.formats.dtype)
    x = b.input("x", TOKENS * width)
    by = linear(ctx, b, "norm_out.linear", CONDITION, 2 * width, width, bias=True, rows=SEQS)
    x = modulated(b, "norm_out", x, TOKENS, width, by)
    return b.build([linear(ctx, b, "proj_out", x, channels, width, bias=True)])
