"""Charts of a served load: how latencies are distributed, latency over load, and what happened when."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._foundation.quantity import format_time
from .svg import LogAxis, Markup, Picture, element, line, log_axis, picture, rect, short, text

if TYPE_CHECKING:
    from ..engine.serving.simulate import Answer

WIDTH, WIDE, HEIGHT = 560.0, 1160.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 18.0, 22.0, 36.0
LOOKS = {"ttft": "matrix", "tpot": "memory", "e2el": "cache", "running": "matrix", "waiting": "launch", "kv": "memory"}
LABELS = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "end to end"}


def _path(points: Sequence[tuple[float, float]], look: str, dashed: bool = False) -> Markup:
    where = "M" + "L".join(f"{short(x)} {short(y)}" for x, y in points)
    return element(
        "path", d=where, fill="none", stroke=f"var(--b-{look})", stroke_width=2.0, stroke_linejoin="round",
        stroke_dasharray="5 4" if dashed else None,
    )  # fmt: skip


def _frame(
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_name: str,
    y_name: str,
    width: float = WIDTH,
) -> list[Markup]:
    floor = HEIGHT - BOTTOM
    parts = [rect(LEFT, TOP, width - LEFT - RIGHT, floor - TOP, "lane")]
    for x, words in x_ticks:
        parts += [line(x, TOP, x, floor, "gridline"), text(x, floor + 15, words, "middle", "small muted")]
    for y, words in y_ticks:
        parts += [line(LEFT, y, width - RIGHT, y, "gridline"), text(LEFT - 6, y + 4, words, "end", "small muted")]
    parts += [
        text(width - RIGHT, HEIGHT - 5, x_name, "end", "small muted"),
        text(LEFT, TOP - 8, y_name, "start", "small muted"),
    ]
    return parts


def _legend(entries: Sequence[tuple[str, str]], width: float = WIDTH) -> list[Markup]:
    parts, x = [], width - RIGHT
    for words, look in reversed(entries):
        x -= 7.2 * len(words) + 20
        parts += [rect(x, TOP - 16, 10, 10, f"b-{look}", rx=2.0), text(x + 14, TOP - 7, words, "start", "small muted")]
    return parts


def _time_ticks(axis: LogAxis) -> list[tuple[float, str]]:
    """Powers of ten, with twice and five times where there are few."""
    tens = axis.ticks(7)
    if len(tens) <= 3:
        first = math.floor(axis.low)
        tens = [f * 10.0**n for n in range(first, math.ceil(axis.high)) for f in (1, 2, 5)]
        tens = [v for v in tens if axis.low <= math.log10(v) <= axis.high]
    return [(axis(v), format_time(v, 1)) for v in tens]


def _linear(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = high - low or 1.0
    return lambda v: start + (min(max(v, low), high) - low) / span * (end - start)


def _round_ticks(high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from 0 on."""
    if high <= 0:
        return [0.0]
    step = 10.0 ** math.floor(math.log10(high / most))
    step *= next(f for f in (1, 2, 5, 10) if high / (step * f) <= most)
    return [i * step for i in range(int(high / step) + 1)]


def cdf_chart(answer: Answer) -> Picture:
    """Share of requests below each latency, with the objectives as marks."""
    found = answer.latencies
    series = {
        n: np.sort(v[np.isfinite(v) & (v > 0)])
        for n, v in (("ttft", found.ttft), ("tpot", found.tpot), ("e2el", found.e2el))
    }
    series = {name: values for name, values in series.items() if len(values)}
    if not series:
        return Picture()
    floor = HEIGHT - BOTTOM
    axis = log_axis([v for values in series.values() for v in (values[0], values[-1])], LEFT, WIDTH - RIGHT, pad=0.1)
    up = _linear(0.0, 1.0, floor, TOP)
    parts = _frame(
        _time_ticks(axis),
        [(up(s), f"{s:.0%}") for s in (0, 0.25, 0.5, 0.75, 1.0)],
        "seconds, log scale",
        "share of requests",
    )
    for name, values in series.items():
        shares = np.linspace(0, 1, 101)
        points = [(axis(float(v)), up(float(s))) for v, s in zip(np.quantile(values, shares), shares, strict=True)]
        parts.append(_path([(points[0][0], up(0)), *points], LOOKS[name]))
    for o in answer.objectives:
        if o.metric in series:
            x = axis(o.bound)
            parts.append(_path([(x, TOP), (x, floor)], LOOKS[o.metric], dashed=True))
    parts += _legend([(LABELS[n], LOOKS[n]) for n in series])
    return picture(WIDTH, HEIGHT, "Share of requests below each latency", *parts, class_="wide")


def curve_chart(answer: Answer, metric: str) -> Picture:
    """Median and 95th percentile of a latency over the rate of arrivals."""
    rows = [r for r in answer.curve if r[f"{metric}_p50"]]
    if len(rows) < 2:
        return Picture()
    floor, most = HEIGHT - BOTTOM, max(r["rate"] for r in rows)
    across = _linear(0.0, most, LEFT, WIDTH - RIGHT)
    bound = next((o.bound for o in answer.objectives if o.metric == metric), None)
    values = [r[f"{metric}_{p}"] for r in rows for p in ("p50", "p95")] + ([bound] if bound else [])
    axis = log_axis(values, floor, TOP, pad=0.08)
    parts = _frame(
        [(across(v), f"{v:g}") for v in _round_ticks(most)], _time_ticks(axis), "requests per second", LABELS[metric]
    )
    for percentile, dashed in (("p95", False), ("p50", True)):
        parts.append(
            _path([(across(r["rate"]), axis(r[f"{metric}_{percentile}"])) for r in rows], LOOKS[metric], dashed)
        )
    if bound:
        parts.append(_path([(LEFT, axis(bound)), (WIDTH - RIGHT, axis(bound))], "launch", dashed=True))
    parts += [
        text(WIDTH - RIGHT, TOP - 7, "p95 solid, p50 dashed" + (", bound red" if bound else ""), "end", "small muted")
    ]
    return picture(WIDTH, HEIGHT, f"{LABELS[metric]} over load", *parts, class_="wide")


def timeline_chart(answer: Answer) -> Picture:
    """Running and waiting requests and the KV cache's use over time."""
    rows = answer.run.timeline
    if len(rows) < 3:
        return Picture()
    rows = rows[:: max(1, len(rows) // 500)]
    floor, span = HEIGHT - BOTTOM, float(rows[-1, 0]) or 1.0
    across = _linear(0.0, span, LEFT, WIDE - RIGHT)
    most = float(rows[:, 1:3].max()) or 1.0
    up = _linear(0.0, most * 1.05, floor, TOP)
    blocks = sum(p.capacity.kv_blocks * p.ranks * p.replicas for p in answer.deployment.pools)
    share = _linear(0.0, 1.05, floor, TOP)
    parts = _frame(
        [(across(v), f"{v:g} s") for v in _round_ticks(span)], [(up(v), f"{v:g}") for v in _round_ticks(most)], "time", "requests", WIDE
    )  # fmt: skip
    parts.append(_path([(across(r[0]), share(r[3] / blocks)) for r in rows], LOOKS["kv"], dashed=True))
    parts.append(_path([(across(r[0]), up(r[1])) for r in rows], LOOKS["running"]))
    parts.append(_path([(across(r[0]), up(r[2])) for r in rows], LOOKS["waiting"]))
    parts += _legend(
        [("running", LOOKS["running"]), ("waiting", LOOKS["waiting"]), ("KV cache, full = top", LOOKS["kv"])], WIDE
    )
    return picture(WIDE, HEIGHT, "Requests running and waiting, and KV cache in use", *parts, class_="wide")
