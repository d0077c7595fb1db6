"""Denoisers that compute a part of a step: what changes little from one step to the next comes from a cache."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable

from ..._foundation.errors import BadInput
from ..._foundation.expr import Expr, const, sym
from ..ir import Block, Graph, Op, Operand, Persistent, Tensor, Work
from .edit import Edit, edited
from .registry import REWRITES, remodel
from .resized import op_with, tensor_with, without_unread

_PLACE = re.compile(r"^(down|up)_blocks\.(\d+)\.")


def is_unet(graph: Graph) -> bool:
    """Levels of halved resolution on the way down and up again, in one block."""
    return any(_PLACE.match(op.name) for _, op in graph.ops())


@REWRITES.register("outer_levels")
def outer_levels(graph: Graph, levels: int = 1) -> Graph:
    """A U-Net's step that runs its outermost levels only; what comes up from below is of an earlier step (DeepCache, arXiv
    2312.00858 §3.2). Other denoisers stay as they are.

    Args:
        levels: resolutions that run.
    """
    if levels < 1:
        raise BadInput(f"{levels} levels run", expected="at least 1")
    if not is_unet(graph):
        return graph
    deepest = max(int(m[2]) for _, op in graph.ops() if (m := _PLACE.match(op.name)))

    def below(op: Op) -> bool:
        place = _PLACE.match(op.name)
        if place is None:
            return op.name.startswith("mid_block")
        if place[1] == "down":
            return int(place[2]) >= levels or (int(place[2]) == levels - 1 and "downsampler" in op.name)
        return int(place[2]) <= deepest - levels

    return without_unread(graph.replace(blocks=tuple(_from_cache(b, below) for b in graph.blocks)))


def _from_cache(block: Block, dropped: Callable[[Op], bool]) -> Block:
    """The block without some ops; what they would hand to the rest lies in a feature cache."""
    ops = tuple(op for op in block.ops if not dropped(op))
    if len(ops) == len(block.ops):
        return block
    made = {w.tensor for op in block.ops for w in op.writes} - {w.tensor for op in ops for w in op.writes}
    wanted = {r.tensor for op in ops for r in op.reads} & made
    tensors = dict(block.tensors)
    for name in wanted:
        t = tensors[name]
        tensors[name] = Tensor(name, t.elements, t.dtype, "feature_cache", Persistent(t.elements, "run"), False)
    return dataclasses.replace(block, ops=ops, tensors=tensors)


@REWRITES.register("merged_latents")
def merged_latents(graph: Graph, ratio: float = 0.5, parts: str = "attn1") -> Graph:
    """Of a U-Net's outermost level that attends, tokens are merged before a part of each transformer block and spread again behind it.

    Of every 2 × 2 tokens one is kept as a target, the others are scored against all targets and the best of them merged
    (arXiv 2303.17604 §3).

    Args:
        ratio: of the tokens that are merged away, up to 3/4.
        parts: of a transformer block, joined by ``+``: ``attn1`` (self-attention), ``attn2`` (to the text), ``ff``.
    """
    chosen = parts.split("+")
    if not 0 <= ratio <= 0.75 or set(chosen) - {"attn1", "attn2", "ff"}:
        raise BadInput(f"{ratio:g} of the tokens merged in {parts}", expected="0 to 0.75, in attn1, attn2, ff")
    if ratio == 0 or not is_unet(graph):
        return graph
    last = max(int(m[2]) for _, op in graph.ops() if (m := _PLACE.match(op.name)))
    attends = [
        int(m[2]) for _, op in graph.ops() if ".attn1." in op.name and (m := _PLACE.match(op.name)) and m[1] == "down"
    ]
    outermost = min(attends, default=0)
    fewer = {"height": sym("height") * (1 - ratio)}

    def inside(op: Op, part: str) -> bool:
        place = _PLACE.match(op.name)
        outer = place is not None and (place[1], int(place[2])) in (("down", outermost), ("up", last - outermost))
        return outer and f".{part}." in op.name + "." and "residual" not in op.name

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        part = next((p for p in chosen if inside(op, p)), None)
        if part is None:
            return (op,)
        for w in op.writes:
            edit.tensors[w.tensor] = tensor_with(edit.tensors[w.tensor], fewer)
        thin = op_with(op, fewer)
        first = op.name.endswith((".to_q", ".ff.up"))
        return (*_scored(edit, op, ratio), thin) if first else (thin,)

    return edited(graph, visit)


def _scored(edit: Edit, op: Op, ratio: float) -> list[Op]:
    """Scores of three tokens in four against the fourth, the best picked, rows added up; and spread again behind the part."""
    rows, width = op.dims["m"], op.dims["k"]
    images = sym("seqs") * sym("passes")
    each = rows / images
    pairs = images * each * each * (3 / 16)
    source = op.reads[0].tensor
    dtype = edit.tensor(source).dtype
    scores = edit.activation(f"{op.name}.scores.out", pairs, dtype, False)
    merged = edit.activation(f"{op.name}.merge.out", rows * width * (1 - ratio), dtype)
    return [
        edit.op(
            f"{op.name}.scores", "matmul", "bmm", op, reads=(Operand(source),), writes=(Operand(scores),),
            work=(Work("matmul", 2 * pairs * width, dtype),),
            dims={"m": each * 0.75, "n": each * 0.25, "k": width, "batch": images},
        ),
        edit.op(f"{op.name}.pick", "sort", "topk", op, reads=(Operand(scores),), work=(Work("vector", pairs, "fp32"),)),
        edit.op(
            f"{op.name}.merge", "gather", "scatter_add", op, reads=(Operand(source, rows * width * (2 - ratio), "random", width),),
            writes=(Operand(merged),), work=(Work("vector", rows * width, "fp32"),),
        ),
    ]  # fmt: skip


@REWRITES.register("edited_region")
def edited_region(graph: Graph, share: float = 0.15) -> Graph:
    """Only the edited share of an image is computed, everything else comes from features kept of the original.

    Blocks of pixels are gathered before each convolution and scattered behind it; attention asks from the edited pixels and
    looks at all (SIGE, arXiv 2211.02048 §3).
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share:g} of the image is edited", expected="above 0, up to 1")
    if share == 1 or "height" not in graph.symbols:
        return graph
    fewer = {"height": sym("height") * share}

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        for w in op.writes:
            t = edit.tensors.get(w.tensor)
            if t is not None and t.cls == "activation" and t is edit.block.tensors[w.tensor]:
                edit.tensors[w.tensor] = tensor_with(t, fewer)
        if op.kind == "attention":
            asked = {**op.dims, "rows": op.dims["rows"] * share}
            return (dataclasses.replace(op, work=tuple(_of(w, share) for w in op.work), dims=asked),)
        thin = op_with(op, fewer)
        if op.kind != "conv":
            return (thin,)
        moved = edit.touched(thin.reads[0])
        out = edit.activation(f"{op.name}.gather.out", moved, edit.tensor(op.reads[0].tensor).dtype)
        gather = edit.op(
            f"{op.name}.gather", "gather", "gather", op, reads=(Operand(op.reads[0].tensor, moved, "strided", const(64)),), writes=(Operand(out),),
        )  # fmt: skip
        return (gather, dataclasses.replace(thin, reads=(Operand(out), *thin.reads[1:])))

    return edited(graph, visit)


def _of(work: Work, share: float) -> Work:
    dense: Expr | None = None if work.dense is None else work.dense * share
    return dataclasses.replace(work, flops=work.flops * share, dense=dense)


@remodel("fewer_pairs")
def fewer_pairs(graph: Graph, share: float = 0.05, self_only: bool = True) -> Graph:
    """Self-attention that looks at a share of its query·key pairs (sparse masks of blocks, found before), as fused kernels run them.

    Args:
        share: of the pairs.
        self_only: attention to a text stays whole.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share:g} of the pairs", expected="above 0, up to 1")
    if share == 1:
        return graph

    def visit(edit: Edit, op: Op) -> Iterable[Op]:
        crossing = ".attn2" in op.name or "cross" in op.name
        if op.fn != "sdpa" or (self_only and crossing):
            return (op,)
        return (dataclasses.replace(op, work=tuple(_of(w, share) for w in op.work)),)

    return edited(graph, visit, lambda block: block.phase == "forward")


__all__ = ["edited_region", "fewer_pairs", "is_unet", "merged_latents", "outer_levels"]
