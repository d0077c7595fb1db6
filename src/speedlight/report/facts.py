"""Figures and memory of an answer in the form every renderer shows: label, value, detail."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._foundation.quantity import format_bytes, format_percent, format_si, format_time
from ..engine.answers.prediction import Prediction
from .view import UNKNOWN, Row, clean, number, ranged, ratio, span, worst
from .words import devices_used, peak_words, rate


@dataclass(frozen=True, slots=True)
class Figure:
    """A headline number: ``key`` names it for layouts, ``part`` is its share of a natural whole where it has one."""

    key: str
    label: str
    value: str
    detail: str = ""
    part: float | None = None
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """The ledger at its worst point: bytes on one device by class.

    Attributes:
        classes: (class, bytes) of what is there, in the ledger's order.
        fits: None when capacity or demand is unknown.
        levers: what would make it fit, where somebody asked.
    """

    classes: tuple[tuple[str, float], ...]
    total: float | None
    capacity: float | None
    fits: bool | None
    levers: tuple[str, ...] = ()

    @property
    def headroom(self) -> float | None:
        return None if self.total is None or self.capacity is None else self.capacity - self.total

    @property
    def line(self) -> str:
        """``fits: 23.3 of 74.5 GiB, 51.2 GiB free``, or what is missing."""
        if self.fits is None or self.headroom is None:
            return f"{format_bytes(self.total)} needed, capacity {format_bytes(self.capacity)}"
        if self.fits:
            return (
                f"fits: {format_bytes(self.total)} of {format_bytes(self.capacity)}, {format_bytes(self.headroom)} free"
            )
        return (
            f"does not fit: needs {format_bytes(self.total)} of {format_bytes(self.capacity)}, "
            f"{format_bytes(-self.headroom)} too much"
        )


def memory_of(prediction: Prediction, levers: Any = None) -> Memory:
    """The memory ledger at the point of a sweep with the least headroom."""
    ledger = prediction.memory
    return memory_from(ledger.by_class, ledger.capacity, levers or prediction.attrs.get("levers"))


def memory_from(by_class: Mapping[str, Any], capacity: Any, levers: Any = None) -> Memory:
    """A ledger from plain figures (numbers, or arrays over a sweep)."""
    names = list(by_class)
    columns = [_floats(v) for v in (*by_class.values(), capacity)]
    shape = np.broadcast_shapes(*(c.shape for c in columns))
    table = np.stack([np.ravel(np.broadcast_to(c, shape)) for c in columns])
    demand = np.nansum(table[:-1], axis=0)
    gap = np.where(np.isnan(demand - table[-1]), -np.inf, demand - table[-1])
    at = int(np.argmax(gap)) if gap.size else 0
    column = table[:, at] if table.size else np.zeros(len(names) + 1)
    kept = tuple((clean(n, 40), float(v)) for n, v in zip(names, column, strict=False) if np.isfinite(v) and v > 0)
    known = np.all(np.isfinite(column[:-1])) if names else True
    total = float(np.nansum(column[:-1])) if known else None
    limit = float(column[-1]) if np.isfinite(column[-1]) else None
    fits = None if total is None or limit is None else total <= limit
    return Memory(kept, total, limit, fits, levers_of(levers))


def _floats(value: Any) -> np.ndarray:
    try:
        return np.asarray(np.nan if value is None else value, dtype=float)
    except (TypeError, ValueError):
        return np.asarray(np.nan)


def levers_of(levers: Any) -> tuple[str, ...]:
    """Levers as lines: strings, or ``fit``'s records ``{"change", "fits", "by"}``."""
    if not levers:
        return ()
    if isinstance(levers, (str, Mapping)):
        levers = [levers]
    return tuple(_lever(lever) for lever in list(levers)[:12])


def _lever(lever: Any) -> str:
    if not isinstance(lever, Mapping):
        return clean(lever)
    change, left = clean(lever.get("change", lever.get("what", "?"))), number(lever.get("by"))
    if "fits" not in lever:
        return change
    if lever["fits"]:
        return f"{change}: fits" + (f", {format_bytes(left)} free" if left is not None else "")
    return f"{change}: not enough" + (f", {format_bytes(-left)} still missing" if left is not None else "")


def interval_words(prediction: Prediction) -> str:
    """``5.23 ms – 15.7 ms``."""
    if span(prediction.low) is None or span(prediction.high) is None:
        return UNKNOWN
    return f"{ranged(prediction.low, format_time)} – {ranged(prediction.high, format_time)}"


def reached(prediction: Prediction) -> float | None:
    """SOL %: speed of light over predicted time; for a sweep None."""
    return ratio(prediction.limit, prediction.time)


def bound_share(prediction: Prediction, rows: Sequence[Row]) -> float | None:
    """The share of the time spent under the answer's bound."""
    if not rows or not isinstance(prediction.bound, str):
        return None
    return math.fsum(row.share for row in rows if row.bound == clean(prediction.bound, 60))


def figures(prediction: Prediction) -> list[Figure]:
    """The headline's numbers after time and speed of light; what is not predicted is left out."""
    unit = clean(prediction.throughput.get("unit", "calls/s"), 24)
    found = []

    def add(key: str, label: str, value: Any, form: Any, detail: str = "", part: Any = None) -> None:
        if span(value) is not None:
            found.append(Figure(key, label, ranged(value, form), detail, number(part)))

    several = (worst(devices_used(prediction)) or 1) > 1
    each = ranged(prediction.throughput.get("per_device"), lambda v: rate(v, unit))
    add("throughput", "Throughput", prediction.throughput.get("value"), lambda v: rate(v, unit),
        f"{each} per device" if several else "")  # fmt: skip
    add("ttft", "TTFT", prediction.ttft, format_time, "time to first token, no queue")
    if prediction.phase != "decode":
        add("tpot", "TPOT", prediction.tpot, format_time, "mean per output token after the first")
    add("mfu", "MFU", prediction.mfu, format_percent, f"of {peak_words(prediction)}", prediction.mfu)
    add("mbu", "MBU", prediction.mbu, format_percent, "of main-memory bandwidth", prediction.mbu)
    add("energy", "Energy", prediction.energy, lambda v: format_si(v, "J"), "of the call")
    add("power", "Power", prediction.power, lambda v: format_si(v, "W"), "mean")
    add("cost", "Cost", prediction.cost, lambda v: f"${v:.3g}", "of the call")
    return found


def memory_figure(memory: Memory) -> Figure:
    """Memory as a headline number."""
    part = memory.total / memory.capacity if memory.total is not None and memory.capacity else None
    if memory.fits is None or memory.headroom is None:
        detail = "capacity unknown"
    elif memory.fits:
        detail = f"fits {format_bytes(memory.capacity)} per device, {format_bytes(memory.headroom)} free"
    else:
        detail = f"does not fit {format_bytes(memory.capacity)} per device: {format_bytes(-memory.headroom)} too much"
    return Figure("memory", "Memory", format_bytes(memory.total), detail, part, memory.fits is False)


@dataclass(frozen=True, slots=True)
class Roofs:
    """Ceilings of a roofline per device: (name, FLOP/s) and (name, bytes/s), greatest first; ``exact`` if stated."""

    compute: tuple[tuple[str, float], ...]
    memory: tuple[tuple[str, float], ...]
    exact: bool


def roofs(prediction: Prediction) -> Roofs:
    """Ceilings the engine states in ``attrs["roofs"]`` (``{"compute": {name: FLOP/s}, "memory": {name: bytes/s}}``),
    else the peak used and the bandwidth that the memory-bound rows' own speed of light implies."""
    stated = prediction.attrs.get("roofs") or {}
    compute, memory = (
        tuple(sorted(((clean(k, 40), v) for k, x in dict(stated.get(part, {})).items() if (v := number(x)) and v > 0),
                     key=lambda pair: -pair[1]))
        for part in ("compute", "memory")
    )  # fmt: skip
    exact = bool(compute and memory)
    peak = prediction.peak_used
    if not compute and peak is not None and (flops := number(peak.flops)):
        compute = ((f"{clean(peak.format, 20)} matrix peak", flops),)
    if not memory:
        found = [(number(op.bytes), number(op.limit), number(op.time), clean(op.bound, 40)) for op in prediction.ops]
        rates = sorted(
            (moved / limit, time or 0.0)
            for moved, limit, time, bound in found
            if moved and limit and bound in ("hbm", "host_dram") and moved / limit < 1e15
        )
        half = sum(w for _, w in rates) / 2
        seen = 0.0
        for value, weight in rates:
            seen += weight
            if seen >= half:
                memory = (("main memory", value),)
                break
    return Roofs(compute, memory, exact)
