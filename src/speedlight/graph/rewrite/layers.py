"""Some of a model's layers apart from the others, and a model with fewer of them.

A folded block stands for equal layers; where a change reaches only a share of them, the block is cut in two: first those that
stay, then those that change. Sums do not depend on which layers those are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..ir import Block, Graph, named_apart
from .registry import remodel

Change = Callable[[Graph, Block], Block]


def in_layers(graph: Graph, share: float, wanted: Callable[[Graph, Block], bool], change: Change) -> Graph:
    """The graph with a share of the layers changed.

    Args:
        share: of each folded block, rounded to whole layers; of single ones the last in order are taken, so that over all the
            share comes out as near as whole layers allow.
        wanted: which blocks have what is to be changed.
        change: a block → the changed one; the same object where there is nothing to change.

    Raises:
        BadInput: for a share outside 0–1.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"a share of {share:g} of the layers", expected="0 to 1")
    chosen = [block for block in graph.blocks if block.phase == "forward" and wanted(graph, block)]
    blocks: list[Block] = []
    seen = taken = 0.0
    changed = False
    for block in graph.blocks:
        count = block.count.constant
        if block not in chosen or count is None:
            blocks.append(block)
            continue
        seen += count
        part = min(round(seen * share - taken), int(count))
        taken += part
        other = change(graph, block) if part else block
        if other is block:
            blocks.append(block)
            continue
        changed = True
        stays = int(count) - part
        if stays:
            blocks.append(dataclasses.replace(block, count=const(stays), layers=block.layers[:stays]))
        blocks.append(dataclasses.replace(other, count=const(part), layers=block.layers[stays:]))
    return graph.replace(blocks=tuple(named_apart(blocks))) if changed else graph


@remodel("keep_layers")
def keep_layers(graph: Graph, share: float = 0.5, at_least: int = 1) -> Graph:
    """The model with a share of its repeated layers, as many of each sort; embeddings and head stay.

    What a draft that skips layers runs (arXiv 2309.08168), and a fixed set of layers left out for all tokens (arXiv 2404.06954).

    Args:
        share: of layers that stay.
        at_least: layers that stay of every sort.
    """
    if not 0 < share <= 1:
        raise BadInput(f"{share:g} of the layers kept", expected="above 0, up to 1")
    blocks = []
    for block in graph.blocks:
        count = block.count.constant
        if block.phase != "forward" or count is None or len(block.inputs) == 0 or count == 1:
            blocks.append(block)
            continue
        left = min(max(round(count * share), at_least), int(count))
        blocks.append(dataclasses.replace(block, count=const(left), layers=block.layers[:left]))
    if all(new.count == old.count for new, old in zip(blocks, graph.blocks, strict=True)):
        return graph
    return graph.replace(blocks=tuple(blocks))


__all__ = ["in_layers", "keep_layers"]
