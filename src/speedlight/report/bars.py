"""Bars: the ruler against light, stacked time, time by kind, memory against capacity, what would move it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .._foundation.quantity import format_bytes, format_percent, format_time
from ..engine.answers.prediction import Prediction
from .facts import Memory, interval_words
from .svg import Markup, Picture, element, line, picture, rect, shortened, text, text_width
from .theme import bound_label, family
from .view import Row, by, clean, merged, number, percents
from .words import sensitivity_words


def ruler(prediction: Prediction, width: float = 1120.0) -> Picture:
    """Speed of light, prediction and interval on one line of time: the picture of how far from light."""
    time, limit = number(prediction.time), number(prediction.limit)
    low, high = number(prediction.low), number(prediction.high)
    if not time:
        return Picture()
    end = max(v for v in (time, limit, high) if v is not None) * 1.02
    colour = family(clean(prediction.bound, 60)).key if isinstance(prediction.bound, str) else "other"

    def x(seconds: float) -> float:
        return 4 + seconds / end * (width - 8)

    parts = [rect(4, 30, width - 8, 26, "track", rx=6.0)]
    parts.append(rect(4, 30, x(time) - 4, 26, f"faint b-{colour}", rx=6.0))
    if limit is not None:
        parts.append(rect(4, 30, x(limit) - 4, 26, f"b-{colour}", rx=6.0))
        parts.append(line(x(limit), 22, x(limit), 60, "mark"))
        parts.append(_label(x(limit), 17, f"speed of light {format_time(limit)}", width, "strong"))
    parts.append(line(x(time), 26, x(time), 66, "mark"))
    parts.append(_label(x(time), 80, f"predicted {format_time(time)}", width, "strong"))
    if low is not None and high is not None and high > low:
        parts += [line(x(low), 92, x(high), 92, "interval")]
        parts += [line(x(v), 88, x(v), 96, "interval") for v in (low, high)]
        parts.append(_label((x(low) + x(high)) / 2, 110, f"80 % interval {interval_words(prediction)}", width, "muted"))
    words = f"predicted {format_time(time)}, speed of light {format_time(limit)}, 80 % interval {interval_words(prediction)}"
    return picture(width, 116, words, *parts, class_="wide ruler")


def _label(x: float, y: float, words: str, width: float, class_: str) -> Markup:
    """Text centred on x, pushed inwards at the ends."""
    half = text_width(words, 13) / 2 + 2
    return text(min(max(x, half), width - half), y, words, "middle", class_)


def bound_stack(rows: Sequence[Row], width: float = 760.0) -> Picture:
    """One bar of the whole time, a segment for each bound, with names and percentages below."""
    groups = by(rows, lambda r: r.bound)
    parts = [math.fsum(r.share for r in members) for members in groups.values()]
    if not math.fsum(parts):
        return Picture()
    made, at = [], 0.0
    for (bound, members), part in zip(groups.items(), parts, strict=True):
        words = f"{bound_label(bound)}: {format_time(merged(members, '').time)}"
        made.append(
            rect(
                at,
                0,
                part * width - (1.5 if part * width > 3 else 0),
                30,
                f"seg b-{family(bound).key}",
                data_bound=bound,
                aria_label=words,
            )
        )
        label = format_percent(part, 0)
        if part * width > text_width(label) + 10:
            made.append(text(at + part * width / 2, 19.5, label, "middle", f"on i-{family(bound).key}"))
        at += part * width
    x, y = 0.0, 50.0
    for bound, percent in zip(groups, percents(parts), strict=True):
        words = f"{bound_label(bound)} {percent}"
        wide = text_width(words, 12.5) + 32
        if x + wide > width and x:
            x, y = 0.0, y + 21
        entry = (rect(x, y - 9, 10, 10, f"b-{family(bound).key}", rx=2.0), text(x + 16, y, words))
        made.append(element("g", *entry, class_="key", data_bound=bound))
        x += wide
    words = ", ".join(f"{bound_label(b)} {p}" for b, p in zip(groups, percents(parts), strict=True))
    return picture(width, y + 8, f"time by bound: {words}", *made)


def kind_bars(rows: Sequence[Row], width: float = 760.0, most: int = 10) -> Picture:
    """A bar for each kind of op, largest first; its colours tell what binds its time."""
    groups = list(by(rows, lambda r: r.kind).items())
    if len(groups) > most:
        rest = [row for _, members in groups[most - 1 :] for row in members]
        groups = [*groups[: most - 1], (f"{len(groups) - most + 1} other kinds", rest)]
    parts = [math.fsum(r.share for r in members) for _, members in groups]
    largest = max(parts, default=0.0)
    if not largest:
        return Picture()
    left, right = 120.0, 150.0
    room = width - left - right
    made = []
    for i, ((kind, members), percent) in enumerate(zip(groups, percents(parts), strict=True)):
        y = i * 25.0
        row = [text(left - 10, y + 15, shortened(kind, left - 14), "end")]
        at = left
        for bound, inner in by(members, lambda r: r.bound).items():
            span = math.fsum(r.share for r in inner) / largest * room
            row.append(rect(at, y + 3, span - (1 if span > 2.5 else 0), 16, f"b-{family(bound).key}"))
            at += span
        row.append(text(at + 8, y + 15, percent, "start", "strong"))
        row.append(
            text(at + 16 + text_width(percent, 13), y + 15, format_time(merged(members, "").time), "start", "muted")
        )
        made.append(element("g", *row, class_="key", data_kind=kind))
    label = "time by kind: " + ", ".join(f"{k} {p}" for (k, _), p in zip(groups, percents(parts), strict=True))
    return picture(width, len(groups) * 25.0 + 4, label, *made)


def memory_stack(memory: Memory, width: float = 760.0) -> Picture:
    """Classes on top of each other against the capacity: a bar that ends beyond the line does not fit."""
    whole = max(memory.capacity or 0.0, memory.total or 0.0)
    if not whole or not memory.classes:
        return Picture()
    made = [rect(0, 8, (memory.capacity or whole) / whole * width, 34, "track", rx=5.0)]
    at = 0.0
    for name, size in memory.classes:
        wide = size / whole * width
        look = name if name in _CLASS_NAMES else "workspace"
        made.append(
            rect(at, 8, wide - (1.5 if wide > 3 else 0), 34, f"m-{look}", aria_label=f"{name} {format_bytes(size)}")
        )
        label = shortened(name, wide - 12)
        if label == name:
            made.append(text(at + wide / 2, 29, label, "middle", f"on mi-{look}"))
        at += wide
    if memory.capacity is not None:
        edge = memory.capacity / whole * width
        made.append(line(min(edge, width - 1), 2, min(edge, width - 1), 48, "mark" if memory.fits else "mark bad"))
        made.append(_label(edge, 64, f"capacity {format_bytes(memory.capacity)}", width, "muted"))
        if memory.headroom is not None and memory.headroom > 0:
            label = f"{format_bytes(memory.headroom)} free"
            if edge - at > text_width(label) + 16:
                made.append(text((at + edge) / 2, 29, label, "middle", "muted"))
    return picture(width, 72, f"memory per device: {memory.line}", *made)


_CLASS_NAMES = ("weights", "kv", "activations", "gradients", "optimizer", "cache", "workspace", "reserve")


def gain_bars(prediction: Prediction, width: float = 560.0) -> Picture:
    """What each change alone would bring."""
    changes = prediction.sensitivities[:10]
    largest = max((abs(g) for c in changes if (g := number(c.gain)) is not None), default=0.0)
    if not largest:
        return Picture()
    made = []
    for i, change in enumerate(changes):
        what, gain = sensitivity_words(change)
        y, part = i * 40.0, abs(number(change.gain) or 0.0) / largest
        made.append(text(0, y + 14, shortened(what, width - 110)))
        made.append(text(width, y + 14, gain, "end", "strong"))
        made.append(rect(0, y + 20, width, 7, "track", rx=3.5))
        made.append(rect(0, y + 20, max(part * width, 3), 7, "gain", rx=3.5))
    return picture(width, len(changes) * 40.0 - 8, "; ".join(" ".join(sensitivity_words(c)) for c in changes), *made)
