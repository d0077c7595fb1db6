"""The roofline: what each op reaches against what the machine allows, log against log.

A dot is an op (its area its share of the time), the whisker above it ends at the op's own speed of light. Ops without
matrix FLOPs, or whose operands never leave a cache, have no place on the plane and stand in the lane below, largest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .._foundation.quantity import format_percent, format_si
from .dots import Box, named, overlap, radius, shapes_of
from .dots import dot as draw
from .dots import pill as draw_pill
from .facts import Roofs
from .svg import LogAxis, Markup, Picture, element, joined, line, log_axis, picture, rect, short, text, text_width
from .view import Row, whole_number

WIDTH = 780.0
LEFT, RIGHT, TOP, BOTTOM = 62.0, 16.0, 30.0, 108.0
LANE = 50.0
MOST_DOTS = 220
SHAPE_MARKS = {"circle": "●", "diamond": "◆", "square": "■", "triangle": "▲"}


@dataclass(frozen=True, slots=True)
class Plane:
    """Where things go: axes in FLOP per byte and FLOP/s, and the chart's height."""

    x: LogAxis
    y: LogAxis
    height: float

    @property
    def floor(self) -> float:
        return self.height - BOTTOM

    @property
    def right(self) -> float:
        return WIDTH - RIGHT

    def at(self, row: Row) -> tuple[float, float]:
        return self.x(row.intensity or 1.0), self.y(row.rate or 1.0)

    def holds(self, box: Box) -> bool:
        return box[0] > LEFT and box[2] < self.right and box[1] > 4 and box[3] < self.floor - 18


def roofline(
    rows: Sequence[Row], ceilings: Roofs, *, height: float = 470.0, titles: bool = False, labels: int = 6
) -> Picture:
    """The chart of a prediction's rows.

    Args:
        rows: ops with shares.
        ceilings: roofs to draw.
        height: in the picture's units (it is 780 wide).
        titles: native tooltips (for pictures that stand alone; pages have their own).
        labels: how many of the largest ops to name.
    """
    drawn = sorted((r for r in rows if r.time), key=lambda r: (-r.share, r.index))[:MOST_DOTS]
    placed = [r for r in drawn if r.intensity and r.rate]
    lane = [r for r in drawn if not (r.intensity and r.rate)]
    shapes = shapes_of(rows)
    plane = _plane(placed, ceilings, height)
    spots = [(r, *plane.at(r)) for r in placed]
    bodies = [(cx - radius(r), cy - radius(r), cx + radius(r), cy + radius(r)) for r, cx, cy in spots]
    roofs, boxes, segments = _ceilings(ceilings, plane, bodies)
    names = named(spots, labels, plane.holds, boxes, segments)
    dots = [draw(r, cx, cy, shapes[r.section], titles) for r, cx, cy in spots]
    parts: list[Markup] = [_grid(plane), roofs, *(_whisker(r, plane) for r in placed), *dots, names]
    parts.append(_lane(lane, plane, shapes, titles))
    if len(shapes) > 1:
        words = "   ".join(f"{SHAPE_MARKS[shape]} {section or 'other'}" for section, shape in shapes.items())
        parts.append(text(LEFT + 8, 18, words, "start", "muted"))
    if hidden := sum(1 for r in rows if r.time) - len(drawn):
        parts.append(text(plane.right, height - 2, f"… and {hidden} smaller ops", "end", "muted small"))
    if not placed:
        parts.append(
            text(
                (LEFT + plane.right) / 2,
                plane.floor / 2,
                "no op has both matrix FLOPs and memory traffic",
                "middle",
                "muted",
            )
        )
    words = f"Roofline of {len(placed)} ops; {len(lane)} without matrix FLOPs or memory traffic stand below"
    return picture(WIDTH, height, words, *parts, class_="wide roofline")


def _plane(placed: Sequence[Row], ceilings: Roofs, height: float) -> Plane:
    rates = [r.rate for r in placed if r.rate]
    intensities = [r.intensity for r in placed if r.intensity]
    peaks = [v for _, v in ceilings.compute]
    if peaks and ceilings.memory:
        ridge = peaks[0] / ceilings.memory[-1][1]
        intensities = [*(i for i in intensities if 1e-9 < i / ridge < 1e9), ridge / 30, ridge * 8]
    if peaks:
        rates = [*rates, peaks[0]]
    x = log_axis(intensities, LEFT, WIDTH - RIGHT)
    return Plane(x, log_axis(rates, height - BOTTOM, TOP, pad=0.3), height)


def _grid(plane: Plane) -> Markup:
    parts = []
    for tick in plane.x.ticks():
        at = plane.x(tick)
        parts += [
            line(at, TOP, at, plane.floor, "gridline"),
            text(at, plane.floor + 16, _plain(tick), "middle", "muted"),
        ]
    for tick in plane.y.ticks(7):
        parts.append(line(LEFT, plane.y(tick), plane.right, plane.y(tick), "gridline"))
        parts.append(text(LEFT - 7, plane.y(tick) + 4, format_si(tick, "", 1), "end", "muted"))
    parts.append(line(LEFT, plane.floor, plane.right, plane.floor, "axis"))
    parts.append(text((LEFT + plane.right) / 2, plane.floor + 34, "FLOP per byte of main memory", "middle", "muted"))
    turned = f"translate(13 {short((TOP + plane.floor) / 2)}) rotate(-90)"
    parts.append(element("text", "FLOP/s while it runs", class_="muted", text_anchor="middle", transform=turned))
    return joined(parts)


def _plain(tick: float) -> str:
    return f"{tick:g}" if tick < 1e4 else format_si(tick, "", 1)


def _ceilings(ceilings: Roofs, plane: Plane, bodies: Sequence[Box]) -> tuple[Markup, list[Box], list[Box]]:
    """Peaks as flats, bandwidths as slopes, the ridge between the highest peak and main memory.

    Returns:
        The lines and their labels, the labels' boxes, and the lines as segments for later labels to avoid.
    """
    x, y = plane.x, plane.y
    left, right = 10.0**x.low, 10.0**x.high
    fastest = ceilings.memory[0][1] if ceilings.memory else None
    highest = ceilings.compute[0][1] if ceilings.compute else None
    parts: list[Markup] = []
    boxes: list[Box] = []
    segments: list[Box] = []
    for i, (name, flops) in enumerate(ceilings.compute[:3]):
        begin = max(left, flops / fastest) if fastest else left
        if not y.low <= math.log10(flops) <= y.high or begin >= right:
            continue
        at = y(flops)
        parts.append(line(x(begin), at, plane.right, at, "roof" if i == 0 else "roof lesser"))
        segments.append((x(begin), at, plane.right, at))
        words = f"{name} {format_si(flops, 'FLOP/s')}"
        wide = text_width(words, 11.5)
        places = [(plane.right - 4 - wide, at - 6), (x(begin) + 8, at - 6), (x(begin) - 10 - wide, at + 4)]
        for x0, y0 in places:
            box = (x0, y0 - 11, x0 + wide, y0 + 3)
            if x0 > LEFT and not any(overlap(box, other) for other in (*bodies, *boxes)):
                parts.append(text(x0, y0, words, "start", "rooflabel"))
                boxes.append(box)
                break
    for i, (name, bandwidth) in enumerate(ceilings.memory[:3]):
        main = i == len(ceilings.memory[:3]) - 1
        end = min(right, highest / bandwidth) if highest else right
        start = max(left, 10.0**y.low / bandwidth)
        if start >= end:
            continue
        x1, y1, x2, y2 = x(start), y(start * bandwidth), x(end), y(end * bandwidth)
        parts.append(line(x1, y1, x2, y2, "roof" if main else "roof lesser"))
        segments.append((x1, y1, x2, y2))
        words = f"{name} {format_si(bandwidth, 'B/s')}"
        if math.hypot(x2 - x1, y2 - y1) > text_width(words) + 20:
            part = 0.5 if main else 0.8
            mx, my = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
            turn = f"translate({short(mx)} {short(my)}) rotate({short(math.degrees(math.atan2(y2 - y1, x2 - x1)))})"
            label = {"class_": "rooflabel", "text_anchor": "middle", "dy": 16 if main else -6, "transform": turn}
            parts.append(element("text", words, **label))
    if highest and ceilings.memory:
        ridge = highest / ceilings.memory[-1][1]
        if left < ridge < right:
            parts.append(line(x(ridge), y(highest), x(ridge), plane.floor, "ridge"))
            parts.append(
                text(x(ridge) + 5, plane.floor - 7, f"ridge {whole_number(ridge)} FLOP/B", "start", "rooflabel")
            )
    return joined(parts), boxes, segments


def _whisker(row: Row, plane: Plane) -> Markup:
    """From what the op reaches to what its own speed of light would be."""
    if not row.limit or not row.flops or (row.reached or 1.0) > 0.97:
        return Markup("")
    cx, cy = plane.at(row)
    top = plane.y(row.flops / row.limit)
    return joined((line(cx, cy, cx, top, "whisker"), line(cx - 4, top, cx + 4, top, "whisker")))


def _lane(lane: Sequence[Row], plane: Plane, shapes: dict[str, str], titles: bool) -> Markup:
    """Ops off the plane, side by side; one too large for the lane becomes a pill of its area."""
    top = plane.height - LANE - 14
    parts = [rect(LEFT, top, plane.right - LEFT, LANE, "lane", rx=6.0)]
    parts += [
        text(LEFT - 7, top + 22, "no FLOPs", "end", "muted small"),
        text(LEFT - 7, top + 36, "or bytes", "end", "muted small"),
    ]
    at, shown, middle, most = LEFT + 10, 0, top + LANE / 2, (LANE - 6) / 2
    for row in lane:
        r = radius(row)
        wide = max(2 * r, math.pi * r * r / (2 * most)) if r > most else 2 * r
        if at + wide > plane.right - 90 and shown:
            break
        if r > most:
            parts.append(draw_pill(row, at, middle - most, wide, 2 * most, titles))
        else:
            parts.append(draw(row, at + r, middle, shapes[row.section], titles))
        at += wide + 7
        shown += 1
    if shown < len(lane):
        rest = math.fsum(r.share for r in lane[shown:])
        words = f"+{len(lane) - shown} ({format_percent(rest)})"
        parts.append(text(plane.right - 8, middle + 4, words, "end", "muted small"))
    return element("g", *parts)
