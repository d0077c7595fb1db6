"""The module tree of an answer as renderers walk it: sums of rows under their modules, with what the engine says of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..engine.answers.prediction import Layer, Prediction
from .view import Row, clean, merged, number


@dataclass(frozen=True, slots=True)
class Node:
    """A module, or a call at the leaves.

    Attributes:
        row: sums of everything below; its limit is the layer's own, not the sum over its parts.
        layer: what the engine says of it; None for what is shown as "… 4 more".
        children: largest time first; empty for a call.
    """

    name: str
    row: Row
    layer: Layer | None = None
    children: tuple[Node, ...] = ()


def tree(prediction: Prediction, rows: Sequence[Row]) -> list[Node]:
    """Top modules (steps and passes where there are several), largest time first.

    Args:
        rows: the prediction's, in its order.
    """
    nodes, rest = _siblings(prediction.layers, 0, 0, rows)
    assert rest == len(prediction.layers)
    return nodes


def bottlenecks(prediction: Prediction, rows: Sequence[Row], most: int) -> list[tuple[Layer, Row]]:
    """The layers that take most of the time, each with the sum of its rows."""
    ranked = sorted((layer for layer in prediction.layers if layer.rank), key=lambda layer: layer.rank or 0)
    found = [(layer, _row(layer, rows)) for layer in ranked[:most]]
    return [(layer, row) for layer, row in found if row.share > 0]


def _siblings(layers: Sequence[Layer], at: int, depth: int, rows: Sequence[Row]) -> tuple[list[Node], int]:
    """Nodes of one depth from ``at`` on, and where the next shallower one stands."""
    nodes = []
    while at < len(layers) and layers[at].depth == depth:
        layer = layers[at]
        children, at = _siblings(layers, at + 1, depth + 1, rows)
        nodes.append(Node(clean(layer.name), _row(layer, rows), layer, tuple(children)))
    return nodes, at


def _row(layer: Layer, rows: Sequence[Row]) -> Row:
    name = clean(layer.name)
    own = merged([rows[i] for i in layer.rows], name)
    index = layer.rows[0] if len(layer.rows) == 1 else -1
    count, limit = number(layer.count), number(layer.limit)
    return replace(own, index=index, count=count, limit=limit, bound=clean(layer.bound, 60))


def walk(nodes: Sequence[Node], least: float = 0.0, depth: int = 0) -> Iterator[tuple[int, Node, bool]]:
    """(depth, node, whether nothing is shown below it), downwards.

    Siblings under ``least`` of the time come as one ``… k more``, and not at all where that would be all there is.
    """
    small = [n for n in nodes if n.row.share < least]
    hidden = {id(n) for n in small} if len(small) > 1 else set()
    for node in nodes:
        if id(node) in hidden:
            continue
        below = list(walk(node.children, least, depth + 1)) if any(n.row.share >= least for n in node.children) else []
        yield depth, node, not below
        yield from below
    if hidden:
        count = sum(n.row.members for n in small)
        yield depth, Node(f"… {count} more", merged([n.row for n in small], f"… {count} more")), True
