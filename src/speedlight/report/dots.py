"""The marks of a roofline: dots by share and section, their labels, and the names that find room beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .._foundation.quantity import format_percent, format_time
from .svg import Markup, element, joined, short, shortened, text, text_width
from .theme import bound_label, family
from .view import Row

Box = tuple[float, float, float, float]  # left, top, right, bottom; for lines: from x, y to x, y

LARGEST, SMALLEST = 30.0, 3.5
SHAPES = ("circle", "diamond", "square", "triangle")


def radius(row: Row) -> float:
    """Area in proportion to the share of the time."""
    return max(SMALLEST, LARGEST * math.sqrt(row.share))


def shapes_of(rows: Sequence[Row]) -> dict[str, str]:
    """A shape for each section, in order of appearance."""
    return {section: SHAPES[i % len(SHAPES)] for i, section in enumerate(dict.fromkeys(r.section for r in rows))}


def _common(row: Row, titles: bool) -> tuple[list[Markup], dict[str, Any]]:
    """What every mark carries: its figures as label, its row's index, its bound's colour."""
    what = f"{row.section} {row.name}".strip()
    words = (
        f"{what}: {format_time(row.time)}, {format_percent(row.share)} of the time, bound by {bound_label(row.bound)}"
    )
    inner = [element("title", words)] if titles else []
    return inner, {
        "class_": f"dot b-{family(row.bound).key}", "data_i": row.index, "tabindex": None if titles else -1,
        "role": "img", "aria_label": words,
    }  # fmt: skip


def dot(row: Row, cx: float, cy: float, shape: str, titles: bool) -> Markup:
    """The mark of an op; all shapes have the area of the circle."""
    r = radius(row)
    inner, common = _common(row, titles)
    if shape == "circle":
        return element("circle", *inner, cx=cx, cy=cy, r=r, **common)
    if shape == "square":
        h = r * 0.886
        return element("rect", *inner, x=cx - h, y=cy - h, width=2 * h, height=2 * h, rx=1.0, **common)
    h = r * (1.253 if shape == "diamond" else 1.555)
    corners = (
        [(0, -h), (h, 0), (0, h), (-h, 0)] if shape == "diamond" else [(0, -h), (0.866 * h, h / 2), (-0.866 * h, h / 2)]
    )
    path = "M" + "L".join(f"{short(cx + a)} {short(cy + b)}" for a, b in corners) + "Z"
    return element("path", *inner, d=path, **common)


def pill(row: Row, x: float, y: float, width: float, height: float, titles: bool) -> Markup:
    """The mark of an op too large for a dot."""
    inner, common = _common(row, titles)
    return element("rect", *inner, x=x, y=y, width=width, height=height, rx=height / 2, **common)


def named(
    spots: Sequence[tuple[Row, float, float]],
    most: int,
    holds: Callable[[Box], bool],
    boxes: Sequence[Box],
    segments: Sequence[Box],
) -> Markup:
    """Names of the largest ops where they have room: right, left, above or below the dot, off dots, labels and roofs.

    Dots on one spot share a name: the largest one's and how many more. A roof is crossed only where nothing else is left.
    """
    groups: list[tuple[Row, float, float, float, int]] = []
    for row, cx, cy in spots:
        near = next((i for i, g in enumerate(groups) if math.hypot(g[1] - cx, g[2] - cy) < max(10.0, g[3] * 0.7)), None)
        if near is None:
            groups.append((row, cx, cy, radius(row), 0))
        else:
            groups[near] = (*groups[near][:4], groups[near][4] + 1)
    bodies = [(cx - r, cy - r, cx + r, cy + r) for _, cx, cy, r, _ in groups]
    taken = [*bodies, *boxes]
    parts = []
    for (row, cx, cy, r, others), mine in list(zip(groups, bodies, strict=True))[:most]:
        words = shortened(row.name, 190) + (f" +{others} more" if others else "")
        wide = text_width(words) + 2
        options = [
            (cx + r + 5, cy + 4, "start", cx + r + 3), (cx - r - 5, cy + 4, "end", cx - r - 5 - wide),
            (cx, cy + r + 14, "middle", cx - wide / 2), (cx, cy - r - 6, "middle", cx - wide / 2),
            (cx + r, cy + r + 12, "end", cx + r - wide),
        ]  # fmt: skip
        column = [b for b in bodies if b[0] < cx + r and cx - r < b[2]]  # dots above and below it: pass them all
        under, over = max(b[3] for b in column) + 14, min(b[1] for b in column) - 6
        options += [(cx - r, under, "start", cx - r), (cx - r, over, "start", cx - r)]
        free = []
        for tx, ty, anchor, x0 in options:
            box = (x0, ty - 10, x0 + wide, ty + 3)
            if holds(box) and not any(overlap(box, other) for other in taken if other is not mine):
                free.append((sum(crosses(box, s) for s in segments), tx, ty, anchor, box))
        if free:
            _, tx, ty, anchor, box = min(free, key=lambda f: f[0])
            parts.append(text(tx, ty, words, anchor, "dotlabel"))
            taken.append(box)
    return joined(parts)


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def crosses(box: Box, segment: Box) -> bool:
    """Whether a line passes through a box (looked at every few pixels: labels are larger than that)."""
    x1, y1, x2, y2 = segment
    steps = max(2, int(math.hypot(x2 - x1, y2 - y1) / 5))
    return any(
        box[0] <= x1 + (x2 - x1) * i / steps <= box[2] and box[1] <= y1 + (y2 - y1) * i / steps <= box[3]
        for i in range(steps + 1)
    )
