"""An :class:`~.arch.Arch` → its graph: equal layers folded, embeddings and head shared where tied."""

from __future__ import annotations

from ..._foundation.expr import ExprLike, sym
from ...graph.builder import SEQS, TOKENS, BlockBuilder
from ...graph.grammar import check
from ...graph.ir import Block, Graph, Operand, Tensor
from ..formats import Formats
from .arch import Arch, Layer
from .ends import SIDE, embed, head
from .parts import Context, build_part, linear


def build_graph(arch: Arch, formats: Formats, mtp: int = 0) -> Graph:
    """The forward step of the architecture, over sequence groups, in these formats.

    Args:
        mtp: draft passes of multi-token prediction modules that the step runs after the main model.

    Raises:
        BadInput: for draft passes of a model without such modules.
    """
    ctx = Context(arch.hidden, formats)
    shared: dict[str, Tensor] = {}
    notes = (*arch.assumptions, *formats.notes)
    facts: dict[str, object] = {}
    free: dict[str, int | None] = {}
    if arch.diffusion is not None:
        from .build_diffusion import diffusion_blocks

        blocks, more = diffusion_blocks(arch, arch.diffusion, ctx, shared)
        notes, facts = (*notes, *more), {"diffusion": arch.diffusion.facts}
    elif arch.own is not None:
        built = arch.own(ctx, shared)
        blocks, free, facts = list(built.blocks), built.symbols, built.facts
        notes = (*notes, *built.notes)
    else:
        tower = _text_tower(arch.tower, ctx, shared) if arch.tower is not None else []
        if arch.encoder is not None:
            from .encoded import encoder_blocks

            tower = encoder_blocks(arch.encoder, ctx, shared)
            free["source"] = arch.source_default
            facts |= {"prompt": arch.prompt, "source_per_second": arch.source_per_second}
            if arch.source_per_second:
                facts["asked"] = {"seconds": arch.source_default / arch.source_per_second}
        if arch.sound is not None and arch.samples_per_second:
            from .sound import positions_of

            facts |= {
                "asked": {"seconds": 10.0},
                "length": positions_of(arch.sound, sym("seconds") * arch.samples_per_second),
            }
        if arch.sight is not None:
            from .sight import sight_blocks

            seen, sizes, said_of = sight_blocks(arch.sight, ctx, shared)
            tower, free, facts = [*seen, *tower], {**free, **sizes}, {**facts, **said_of}
        blocks = [*tower, embed(arch, ctx, shared), *layer_blocks(arch, ctx)]
        if mtp:
            from .multi_token import draft_block, share_head

            share_head(arch, ctx, shared)
        blocks.append(head(arch, ctx, shared))
        if mtp:
            blocks.append(draft_block(arch, ctx, mtp))
            said = ("multi-token prediction", f"{mtp} draft passes a step, by a layer like the model's last")
            notes = (*[n for n in notes if n[0] != said[0]], said)
            facts["mtp"] = mtp
    graph = Graph(
        name=arch.name,
        blocks=tuple(blocks),
        shared=shared,
        dims=ctx.dims,
        symbols=free,
        attrs={
            "family": arch.family, "generates": arch.causal and arch.head == "lm", "max_context": arch.max_context, "causal": arch.causal, "hidden": arch.hidden,
            "n_layers": len(arch.layers), "assumptions": notes, "unknown_ops": (),
            "kind": _kind(arch),
            "tokens_per_sequence": arch.tokens_per_sequence, "dtype": formats.dtype,
            **facts,
        },
    )  # fmt: skip
    return check(graph)


def _kind(arch: Arch) -> str:
    """What is counted in answers: images, recordings, or tokens."""
    if arch.diffusion is not None or arch.own is not None:
        return "diffusion"
    return "vision" if arch.patches else "audio" if arch.sound and not arch.causal else "transformer"


def layer_blocks(arch: Arch, ctx: Context, prefix: str = "") -> list[Block]:
    """One folded block for each distinct layer (by its parts and number formats), in order of first appearance."""
    where: dict[tuple[Layer, Formats], list[int]] = {}
    for index, key in enumerate(zip(arch.layers, ctx.formats.by_layer(len(arch.layers)), strict=True)):
        where.setdefault(key, []).append(index)
    blocks = []
    for number, ((layer, formats), indices) in enumerate(where.items()):
        name = "layers" if len(where) == 1 else f"layers.{number}.{_label(layer)}"
        b = BlockBuilder(prefix + name, arch.layer_prefix, formats.dtype, len(indices), indices)
        x = b.input("x", TOKENS * arch.hidden * layer.streams)
        blocks.append(b.build([build_layer(ctx.within(formats), b, layer, x)]))
    return blocks


def _label(layer: Layer) -> str:
    mixer, ffn = type(layer.mixer).__name__.lower(), type(layer.ffn).__name__.lower()
    window = getattr(layer.mixer, "window", None)
    names = [n for n in (mixer + (f"-w{window}" if window else ""), ffn) if n != "nonetype"]
    return "+".join(names) or "empty"


def build_layer(ctx: Context, b: BlockBuilder, layer: Layer, x: str) -> str:
    """Append the ops of one layer; returns the name of its output."""

    def norm(name: str, source: str) -> str:
        return b.norm(name, layer.norm, source, TOKENS, ctx.hidden, bias=layer.norm_bias, weight=layer.norm_weight)

    def add(name: str, left: str, right: str) -> str:
        return b.elementwise(name, "add", [left, right], TOKENS * ctx.hidden)

    if layer.placement in ("parallel", "parallel2"):
        normed = norm("input_layernorm", x)
        second = norm("post_attention_layernorm", x) if layer.placement == "parallel2" else normed
        mixed = build_part(ctx, b, layer.mixer, normed)
        fed = build_part(ctx, b, layer.ffn, second)
        return add("residual", add("parallel_add", mixed, fed), x)
    before = layer.placement in ("pre", "sandwich")
    steps = [
        ("input_layernorm", layer.mixer, "attn"), ("encoder_attn_layernorm", layer.cross, "cross"),
        ("post_attention_layernorm", layer.ffn, "mlp"),
    ]  # fmt: skip
    for norm_name, spec, label in steps:
        if spec is None:
            continue
        source, mixing = x, ""
        if layer.streams > 1:
            from .parts.streams import collapse

            source, mixing = collapse(ctx, b, f"{label}_hc", x, layer.streams)
        ctx.residual = source
        first = before and (layer.first_norm or label != "attn")
        fed = build_part(ctx, b, spec, norm(norm_name, source) if first else source)
        if layer.placement == "sandwich":
            fed = norm(f"post_{label}_norm", fed)
        elif layer.placement == "branch":
            fed = norm(norm_name, fed)
        if layer.streams > 1:
            from .parts.streams import expand

            x = expand(ctx, b, f"{label}_hc", fed, x, mixing, layer.streams)
        else:
            x = add(f"{label}_residual", fed, x)
        if layer.placement == "post":
            x = norm(norm_name, x)
    return _side_input(ctx, b, layer, x) if layer.side_input else x


def _side_input(ctx: Context, b: BlockBuilder, layer: Layer, x: str) -> str:
    """Gemma 3n and 4: the layer's own slice of a second token embedding, gated by the residual, joins it."""
    width = layer.side_input
    gate = linear(ctx, b, "per_layer_input_gate", x, width, ctx.hidden)
    active = b.elementwise("per_layer_act", "gelu_tanh", [gate], TOKENS * width)
    mixed = b.elementwise("per_layer_mul", "mul", [active, Operand(SIDE, TOKENS * width)], TOKENS * width)
    out = linear(ctx, b, "per_layer_projection", mixed, ctx.hidden, width)
    out = b.norm("post_per_layer_input_norm", layer.norm, out, TOKENS, ctx.hidden)
    return b.elementwise("per_layer_residual", "add", [out, x], TOKENS * ctx.hidden)


def _text_tower(tower: Arch, ctx: Context, shared: dict[str, Tensor]) -> list[Block]:
    """The textual half of a two-tower model: one text of fixed length for each image of the step."""
    from .binding import bind

    inner = Context(tower.hidden, ctx.formats, ctx.dims)
    blocks = [
        embed(tower, inner, shared, "text."), *layer_blocks(tower, inner, "text."), head(tower, inner, shared, "text.")
    ]  # fmt: skip
    length = tower.tokens_per_sequence or 1
    fixed: dict[str, ExprLike] = {"tokens": SEQS * length, "new": length, "cached": 0, "caching": 0}
    return [bind(block, fixed) for block in blocks]
