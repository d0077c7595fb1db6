"""Where a model begins and ends: token and patch embeddings, language-model heads, poolers, classifiers."""

from __future__ import annotations

from ..._foundation.expr import Expr, ExprLike, as_expr, const
from ...graph.builder import CACHING, LOGITS, NEW, SEQS, TOKENS, TRAINING, BlockBuilder
from ...graph.ir import Block, Operand, Persistent, Tensor, Work
from .arch import Arch, Patches
from .parts import Context, linear
from .parts.disentangled import RELATIVE
from .parts.feedforward import mlp

SIDE = "per_layer_inputs"  # Gemma 4's second embedding, shared by all layers
TEXT_EMBEDS = "text_embeds"
HEAD = "lm_head.weight"


def shared_weight(shared: dict[str, Tensor], name: str, elements: ExprLike, dtype: str) -> str:
    """A weight that exists once and that several blocks may use."""
    size = as_expr(elements)
    shared[name] = Tensor(name, size, dtype, "weight", Persistent(size))
    return name


def embed(arch: Arch, ctx: Context, shared: dict[str, Tensor], prefix: str = "") -> Block:
    """The first block: tokens or patches → hidden states."""
    for name, elements in arch.extra:
        shared_weight(shared, name, elements, ctx.formats.dtype)
    b = BlockBuilder(f"{prefix}embed", f"{prefix}model", ctx.formats.dtype)
    if arch.sound is not None:
        from .sound import sound_embedding

        x = sound_embedding(ctx, b, arch.sound, arch.hidden)
        if arch.embed_norm:
            x = b.norm("layer_norm", arch.norm, x, TOKENS, arch.hidden, bias=arch.norm_bias)
        return b.build([x])
    if arch.patches is not None:
        x = patch_embedding(b, arch.patches, arch.hidden)
        if arch.embed_norm:
            x = b.norm("embed_norm", arch.norm, x, TOKENS, arch.hidden, bias=arch.norm_bias)
        return b.build([x])
    x = _tokens(arch, ctx, shared, b)
    if arch.layers and arch.layers[0].streams > 1:
        wide = TOKENS * arch.hidden * arch.layers[0].streams
        x = b.elementwise("to_streams", "copy", [x], wide, kind="copy")
    return b.build([x])


def _tokens(arch: Arch, ctx: Context, shared: dict[str, Tensor], b: BlockBuilder) -> str:
    width = arch.embed_width or arch.hidden
    vocab, vocab_name = ctx.dim("vocab", arch.vocab, "vocab")
    table = shared_weight(shared, "embed_tokens.weight", vocab * width, ctx.formats.dtype)
    x = b.embedding(
        "embed_tokens", table, TOKENS, width, share=vocab / arch.vocab, exchanges=[("reduce", (vocab_name,))]
    )
    projected = width != arch.hidden
    if projected and not arch.embed_projected_last:
        x, width = linear(ctx, b, "embed_project_in", x, arch.hidden, width), arch.hidden
    for name, rows in (("embed_positions", arch.positions), ("token_type_embeddings", arch.segments)):
        if rows:
            learned = b.weight(f"{name}.weight", rows * width)
            looked_up = b.embedding(name, learned, TOKENS, width)
            x = b.elementwise(f"{name}.add", "add", [x, looked_up], TOKENS * width)
    if arch.embed_norm:
        x = b.norm("embed_norm", arch.norm, x, TOKENS, width, bias=arch.norm_bias)
    if projected and arch.embed_projected_last:
        x = linear(ctx, b, "embeddings_project", x, arch.hidden, width, bias=True)
    if arch.relative:
        _relative_table(arch, b, shared)
    if arch.side_vocab:
        _side_embedding(arch, ctx, shared, b, x)
    return x


def _relative_table(arch: Arch, b: BlockBuilder, shared: dict[str, Tensor]) -> None:
    """DeBERTa's table of relative positions, normed once a step for all layers."""
    size = const(arch.relative * arch.hidden)
    shared[RELATIVE] = Tensor(RELATIVE, size, b.dtype)
    table = b.weight("rel_embeddings.weight", size)
    learned = (
        [b.weight(f"rel_embeddings.norm.{p}", arch.hidden) for p in ("weight", "bias")] if arch.relative_norm else []
    )
    fn, kind = (arch.norm, "norm") if arch.relative_norm else ("copy", "copy")
    b.op("rel_embeddings", kind, fn, reads=tuple(Operand(t) for t in (table, *learned)), writes=(Operand(RELATIVE),),
         work=b.element_work(fn, size), dims={"rows": const(arch.relative), "width": const(arch.hidden)})  # fmt: skip


def _side_embedding(arch: Arch, ctx: Context, shared: dict[str, Tensor], b: BlockBuilder, x: str) -> None:
    """A slice per layer of a second table, summed with a projection of the first (Gemma 3n model card, "PLE")."""
    each = arch.layers[0].side_input
    width = each * len(arch.layers)
    side_vocab, name = ctx.dim("side_vocab", arch.side_vocab, "vocab")
    table = b.weight("embed_tokens_per_layer.weight", side_vocab * width)
    looked_up = b.embedding(
        "embed_tokens_per_layer", table, TOKENS, width, share=side_vocab / arch.side_vocab,
        exchanges=[("reduce", (name,))],
    )  # fmt: skip
    projected = linear(ctx, b, "per_layer_model_projection", x, width, arch.hidden)
    projected = b.norm("per_layer_projection_norm", arch.norm, projected, TOKENS * len(arch.layers), each)
    size = TOKENS * width
    shared[SIDE] = Tensor(SIDE, size, ctx.formats.dtype)
    b.op("per_layer_inputs", "elementwise", "add", reads=(Operand(looked_up), Operand(projected)),
         writes=(Operand(SIDE),), work=b.element_work("add", size))  # fmt: skip


def patch_embedding(b: BlockBuilder, p: Patches, hidden: int) -> str:
    """Patches by a convolution whose stride is its kernel, then class tokens and positions (ViT, arXiv 2010.11929 eq. 1)."""
    images, inputs = SEQS, p.channels * p.frames * p.patch**2
    rows: Expr = images * p.patches if p.image else TOKENS
    size = images * p.channels * p.frames * p.image**2 if p.image else rows * inputs
    pixels = Tensor("pixels", size, b.dtype, "input", needs_grad=False)
    b.tensors[pixels.name] = pixels
    weights = [b.weight("patch_embedding.weight", hidden * inputs)]
    if p.bias:
        weights.append(b.weight("patch_embedding.bias", hidden))
    out = b.activation("patch_embedding.out", rows * hidden)
    b.op(
        "patch_embedding", "conv", "conv2d", reads=(Operand(pixels.name), *[Operand(w) for w in weights]),
        writes=(Operand(out),), work=(Work("matmul", 2 * rows * hidden * inputs, b.dtype),),
        dims={"m": rows, "n": const(hidden), "k": const(inputs), "batch": const(1)},
        attrs={"kernel": p.patch, "stride": p.patch, "in_channels": p.channels, "out_channels": hidden, "groups": 1},
    )  # fmt: skip
    learned = []
    if p.extra_tokens:
        learned.append(b.weight("class_tokens", p.extra_tokens * hidden))
    if p.positions:
        learned.append(b.weight("position_embedding.weight", p.positions * hidden))
    if not learned:
        return out
    return b.elementwise("add_positions", "add", [out], TOKENS * hidden, weights=learned)


def head(arch: Arch, ctx: Context, shared: dict[str, Tensor], prefix: str = "") -> Block:
    """The last block: hidden states → logits, scores or a pooled vector."""
    b = BlockBuilder(f"{prefix}head", "", ctx.formats.dtype)
    streams = arch.layers[0].streams if arch.layers else 1
    x = b.input("x", TOKENS * arch.hidden * streams)
    if streams > 1:
        from .parts.streams import collapse_last

        x = collapse_last(ctx, b, "model.hc_head", x, streams)
    x = final_norm(arch, b, x)
    if arch.head in ("lm", "mlm"):
        return b.build([_language(arch, ctx, b, x, shared)])
    if arch.head in ("pooler", "classes", "projection"):
        first = Operand(x, SEQS * arch.hidden)
        x = b.elementwise("pool", "copy", [first], SEQS * arch.hidden, kind="gather")
    if arch.head == "map":
        x = _attention_pool(arch, ctx, b, x)
    if arch.head == "score":
        x = linear(ctx, b, "discriminator.dense", x, arch.hidden, arch.hidden, bias=True)
        x = b.elementwise("discriminator.act", "gelu", [x], TOKENS * arch.hidden)
        x = linear(ctx, b, "discriminator.dense_prediction", x, 1, arch.hidden, bias=True)
    elif arch.head == "pooler":
        x = linear(ctx, b, "pooler.dense", x, arch.hidden, arch.hidden, bias=True, rows=SEQS)
        x = b.elementwise("pooler.tanh", "tanh", [x], SEQS * arch.hidden)
    elif arch.head in ("classes", "projection"):
        x = linear(ctx, b, "classifier", x, arch.outputs, arch.hidden, bias=arch.head_bias, rows=SEQS)
    if arch.tower is not None:
        x = _similarity(arch, b, x)
    if prefix:  # the other tower compares itself with this one
        shared[TEXT_EMBEDS] = Tensor(TEXT_EMBEDS, SEQS * arch.outputs, ctx.formats.dtype)
        b.op("embeds", "norm", "l2_norm", reads=(Operand(x),), writes=(Operand(TEXT_EMBEDS),),
             work=b.element_work("l2_norm", SEQS * arch.outputs))  # fmt: skip
        return b.build([TEXT_EMBEDS])
    return b.build([x])


def _attention_pool(arch: Arch, ctx: Context, b: BlockBuilder, x: str) -> str:
    """One learned query attends over all tokens; a norm and a feed-forward follow (SigLIP, arXiv 2303.15343 §3.1)."""
    hidden, layer = arch.hidden, arch.layers[0]
    heads = layer.mixer.heads
    d = hidden // heads
    probe = b.weight("head.probe", hidden)
    asked = b.elementwise("head.query", "copy", [probe], SEQS * hidden, kind="copy")
    q = linear(ctx, b, "head.attention.q_proj", asked, hidden, hidden, bias=True, rows=SEQS)
    k, v = [linear(ctx, b, f"head.attention.{p}_proj", x, hidden, hidden, bias=True) for p in "kv"]
    out = b.attention("head.attention", q, k, v, heads=heads, kv_heads=heads, qk_dim=d, v_dim=d, causal=False,
                      pairs=NEW, dense_pairs=NEW, rows=SEQS, span=const(0))  # fmt: skip
    out = linear(ctx, b, "head.attention.out_proj", out, hidden, hidden, bias=True, rows=SEQS)
    normed = b.norm("head.layernorm", arch.norm, out, SEQS, hidden, bias=True)
    fed = mlp(ctx, b, layer.ffn, normed, name="head.mlp", rows=SEQS)
    return b.elementwise("head.residual", "add", [fed, out], SEQS * hidden)


def final_norm(arch: Arch, b: BlockBuilder, x: str) -> str:
    """The norm after the last layer, where there is one."""
    if not arch.final_norm:
        return x
    rows = SEQS if arch.pooled_norm else TOKENS
    source = Operand(x, rows * arch.hidden)
    learned = [b.weight("model.norm.weight", arch.hidden)] if arch.norm_weight else []
    if arch.norm_bias:
        learned.append(b.weight("model.norm.bias", arch.hidden))
    return b.elementwise("model.norm", arch.norm, [source], rows * arch.hidden, kind="norm", weights=learned,
                         dims={"rows": rows, "width": const(arch.hidden)})  # fmt: skip


def _similarity(arch: Arch, b: BlockBuilder, x: str) -> str:
    """CLIP's scores of all images against all texts (arXiv 2103.00020 Figure 3)."""
    width = arch.outputs
    normed = b.elementwise("embeds", "l2_norm", [x], SEQS * width, kind="norm")
    scale = b.weight("logit_scale", 1)
    out = b.activation("similarity.out", SEQS * SEQS)
    b.op(
        "similarity", "matmul", "matmul", reads=(Operand(normed), Operand(TEXT_EMBEDS), Operand(scale)),
        writes=(Operand(out),), work=(Work("matmul", 2 * SEQS * SEQS * width, b.dtype),),
        dims={"m": SEQS, "n": SEQS, "k": const(width), "batch": const(1)},
    )  # fmt: skip
    return out


def _language(arch: Arch, ctx: Context, b: BlockBuilder, x: str, shared: dict[str, Tensor]) -> str:
    """The decoder over the vocabulary, at the positions whose logits are asked for (masked models: at all)."""
    rows = TOKENS if arch.head == "mlm" else LOGITS
    width = arch.embed_width or arch.hidden
    if arch.head == "mlm":
        x = linear(ctx, b, "cls.transform.dense", x, width, arch.hidden, bias=arch.head_dense_bias, rows=rows)
        x = b.elementwise("cls.transform.act", arch.head_act, [x], rows * width)
        x = b.norm("cls.transform.norm", arch.norm, x, rows, width, bias=arch.norm_bias)
    elif width != arch.hidden:
        x = linear(ctx, b, "embed_project_out", x, width, arch.hidden, rows=rows)
    vocab, vocab_name = ctx.dim("vocab", arch.vocab, "vocab")
    kept = ctx.formats.dtype
    stored = kept if arch.tied else ctx.formats.head
    own = HEAD if HEAD in shared else None  # shared with draft modules
    logits = b.linear(
        "lm_head", x, vocab, width, rows=rows, weight="embed_tokens.weight" if arch.tied else own,
        weight_format=stored, activation_format=kept, bias=arch.head_bias, exchanges=[("gather", (vocab_name,))],
    )  # fmt: skip
    whole = rows * arch.vocab
    if arch.causal:
        b.elementwise("sample", "sample", [Operand(logits, whole)], LOGITS, kind="softmax", work_elements=whole,
                      dtype="int32", count=CACHING)  # fmt: skip
    b.elementwise("loss", "cross_entropy", [Operand(logits, whole)], rows, kind="softmax", work_elements=whole,
                  dtype="fp32", count=TRAINING)  # fmt: skip
    return logits
