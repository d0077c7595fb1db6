"""Time by module path: each row of blocks is one level deeper, widths are shares of the time, colours are bounds."""

from __future__ import annotations

from collections.abc import Sequence

from .._foundation.quantity import format_percent, format_time
from ..engine.answers.prediction import Prediction
from .svg import Markup, Picture, element, joined, picture, rect, shortened, text
from .theme import bound_label, family
from .tree import Node, tree
from .view import Row, clean

WIDTH, STEP = 1120.0, 27.0
LEAST = 0.0015
MOST_BLOCKS = 400


def icicle(prediction: Prediction, rows: Sequence[Row]) -> Picture:
    """The chart; empty where all rows are at the top level or nothing takes time."""
    nodes = tree(prediction, rows)
    blocks: list[Markup] = []
    deepest = _place(nodes, 0.0, 0, blocks)
    if deepest < 1 or not blocks:
        return Picture()
    return picture(WIDTH, (deepest + 1) * STEP, "time by module path", joined(blocks), class_="wide icicle")


def _place(nodes: Sequence[Node], left: float, depth: int, blocks: list[Markup]) -> int:
    """Draw siblings from ``left`` on and what is below them; returns the deepest level drawn."""
    deepest = depth - 1
    for node in nodes:
        share = node.row.share
        if share >= LEAST and len(blocks) < MOST_BLOCKS:
            blocks.append(_block(node, left * WIDTH, depth * STEP))
            deepest = max(deepest, depth, _place(node.children, left, depth + 1, blocks))
        left += share
    return deepest


def _block(node: Node, x: float, y: float) -> Markup:
    row = node.row
    wide = row.share * WIDTH - 1.2
    leaf = not node.children
    bound = family(row.bound).key
    words = f"{node.name}: {format_time(row.time)}, {format_percent(row.share)}, mostly {bound_label(row.bound)}"
    if node.layer is not None and node.layer.why:
        words += f". {clean(node.layer.why, 300)}"
    parts = [element("title", words), rect(x, y, max(wide, 0.6), STEP - 2, f"b-{bound}" if leaf else "module", rx=3.0)]
    label = shortened(node.name, wide - 10)
    if label:
        parts.append(text(x + 5, y + 17, label, "start", f"on i-{bound}" if leaf else ""))
    return element("g", *parts, data_i=row.index if leaf and row.index >= 0 else None)
