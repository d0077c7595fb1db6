"""Some of a model's layers apart from the others: every share of layers is cut here, by one rule.

A folded block stands for equal layers; where a change reaches only a share of them, the block is cut in two: first those that
stay, then those that change. Sums do not depend on which layers those are. A share comes out as near as whole layers allow over
all folds together (a half goes to the even number): a fold changes what is due of all layers so far, less what changed before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

from ..._foundation.errors import BadInput
from ..._foundation.expr import const
from ..ir import Block, Graph, named_apart

Wanted = Callable[[Graph, Block], bool]
Change = Callable[[Graph, Block], Block]


def nearest(share: float, count: float) -> int:
    """Whole layers nearest to a share of so many."""
    return round(round(share * count, 9))  # 0.05 and 1 − 0.95 are one share


def some(block: Block, start: int, count: int) -> Block | None:
    """So many of a fold's layers from one on; None for none of them."""
    if count == block.count.constant:
        return block
    layers = block.layers[start : start + count]
    return dataclasses.replace(block, count=const(count), layers=layers) if count else None


def repeated(graph: Graph, block: Block) -> bool:
    """Layers like one another, which take what the one before hands on; embeddings and heads are none."""
    return bool(block.inputs) and (block.count.constant or 0) > 1


def cut(
    graph: Graph, share: float, wanted: Wanted = repeated, least: int = 0
) -> Iterator[tuple[Block | None, Block | None]]:
    """Of every block the layers that stay as they are, and those of the share; None for none.

    Args:
        share: of the layers of wanted blocks.
        least: layers of each fold that stay, whatever the share.

    Raises:
        BadInput: for a share outside 0–1.
    """
    if not 0 <= share <= 1:
        raise BadInput(f"a share of {share:g} of the layers", expected="0 to 1")
    seen = taken = 0
    for block in graph.blocks:
        count = block.count.constant
        if block.phase != "forward" or count is None or not wanted(graph, block):
            yield block, None
            continue
        seen += int(count)
        part = max(min(nearest(share, seen) - taken, int(count) - least), 0)
        taken += part
        yield some(block, 0, int(count) - part), some(block, int(count) - part, part)


def in_layers(graph: Graph, share: float, wanted: Wanted, change: Change) -> Graph:
    """The graph with a share of the layers changed.

    Args:
        share: of the layers of wanted blocks, the last ones of each.
        wanted: which blocks have what is to be changed.
        change: a block → the changed one; the same object where there is nothing to change.

    Raises:
        BadInput: for a share outside 0–1.
    """
    blocks: list[Block] = []
    changed = False
    for block, (stays, chosen) in zip(graph.blocks, cut(graph, share, wanted), strict=True):
        other = None if chosen is None else change(graph, chosen)
        if other is chosen:
            blocks.append(block)
            continue
        changed = True
        blocks += [part for part in (stays, other) if part is not None]
    return graph.replace(blocks=tuple(named_apart(blocks))) if changed else graph


def closed_up(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Blocks of a model that lost some layers, the others numbered from 0 without gaps: stages are dealt by these numbers."""
    left = list(blocks)
    place = {layer: i for i, layer in enumerate(sorted({layer for block in left for layer in block.layers}))}
    return tuple(dataclasses.replace(block, layers=tuple(place[layer] for layer in block.layers)) for block in left)


__all__ = ["closed_up", "cut", "in_layers", "nearest", "repeated", "some"]
