"""A whole graph's convolutions put to channels last where a compiler expects a gain, with the copies that this leaves.

Loops write their results in any order, so activations change their layout for nothing; what comes from outside (images,
weights) is copied once a pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..._foundation.expr import compile_tape
from ..ir import Block, Graph, Op
from .edit import Edit
from .expand import copied, is_convolution, lies_flat
from .registry import REWRITES


@REWRITES.register("channels_last")
def channels_last_convolutions(
    graph: Graph, always: bool = False, ops_per_conv: float = 0.0, gain: Mapping[str, float] | None = None,
    weights: bool = True,
) -> Graph:  # fmt: skip
    """Mark convolutions channels last, all of them or none.

    Args:
        always: without asking.
        ops_per_conv: none where a convolution stands for this many ops or more; 0 to skip the question.
        gain: relative time of a convolution's FLOPs channels last, by sort: ``grouped`` (several channels in each of several
            groups), ``small`` (at most 64 channels in and out), ``in_out`` (at most half as many channels out as in, in a
            window), ``default``. All are put so where that makes the sum no larger.
        weights: copy weights that lie row by row, once a pass.
    """
    found = [(block, op) for block, op in graph.ops() if is_convolution(op)]
    if not found or any("layout" in op.attrs for _, op in found):
        return graph
    if not always and not _pays(graph, found, ops_per_conv, gain or {}):
        return graph
    blocks = []
    for block in graph.blocks:
        edit = Edit(graph, block)
        ops = tuple(new for op in block.ops for new in _put(edit, op, weights))
        blocks.append(dataclasses.replace(block, ops=ops, tensors=edit.tensors))
    return graph.replace(blocks=tuple(blocks))


def _pays(graph: Graph, found: list[tuple[Block, Op]], ops_per_conv: float, gain: Mapping[str, float]) -> bool:
    counts = {b.name: b.count for b in graph.blocks}
    tape = compile_tape([*(op.flops("matmul") * b.count for b, op in found), *counts.values()])
    env = {**dict.fromkeys(tape.symbols, 2.0), **{n: float(v or 2) for n, v in graph.symbols.items()}}
    values = [float(v) for v in tape.run(env)]
    flops, times = values[: len(found)], dict(zip(counts, values[len(found) :], strict=True))
    convolutions = sum(times[b.name] for b, _ in found)
    ops = sum(times[b.name] for b, _ in graph.ops())
    if ops_per_conv and ops >= ops_per_conv * convolutions:
        return False
    weighted = sum(f * gain.get(_sort(op), 1.0) for f, (_, op) in zip(flops, found, strict=True))
    return weighted <= sum(flops)


def _sort(op: Op) -> str:
    d = {name: value.constant or 0 for name, value in op.dims.items()}
    inside = d["in_channels"] / max(d["groups"], 1)
    if d["groups"] > 1 and inside > 1:
        return "grouped"
    if d["out_channels"] <= 64 and inside <= 64:
        return "small"
    if d["out_channels"] * 2 <= inside and d["kernel_h"] > 1:
        return "in_out"
    return "default"


def _put(edit: Edit, op: Op, weights: bool) -> list[Op]:
    if not is_convolution(op):
        return [op]
    op = dataclasses.replace(op, attrs={**op.attrs, "layout": "channels_last"})
    made: list[Op] = []
    for position, read in enumerate(op.reads[:2]):
        outside = edit.tensor(read.tensor).cls in ("input", "weight", "constant") or edit.is_cast(read.tensor)
        if not outside or lies_flat(edit, op, position) or (position == 1 and not weights):
            continue
        copy, op = copied(edit, op, position, "0231")
        made.append(copy)
    return [*made, op]


__all__ = ["channels_last_convolutions"]
