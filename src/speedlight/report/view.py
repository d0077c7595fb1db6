"""A prediction as renderers read it: clean text, plain numbers, rows with their share of the time.

Nothing is predicted here; sums of rows and quotients of two figures of the answer are all the arithmetic there is.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._foundation.quantity import format_percent
from ..engine.answers.prediction import OpRow, Prediction

UNKNOWN = "–"
_UNSAFE = {"Cc", "Cs", "Cn", "Co", "Zl", "Zp"}
_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def clean(text: Any, limit: int = 160) -> str:
    """One line of printable text: names come from untrusted files and may hold terminal escapes or direction marks."""
    raw = str(text)
    head = "".join("\ufffd" if c in _BIDI or unicodedata.category(c) in _UNSAFE else c for c in raw[:limit])
    return head if len(raw) <= limit else head[: limit - 1] + "…"


def number(value: Any) -> float | None:
    """A finite scalar, or None: for what is not predicted, not finite or not a number at all."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        return None
    found = float(array.reshape(()))
    return found if math.isfinite(found) else None


def span(value: Any) -> tuple[float, float] | None:
    """Least and greatest finite value of a scalar or a sweep; None if there is none."""
    if value is None or isinstance(value, (str, bytes)):
        return None
    array = np.ravel(np.asarray(value))
    if array.dtype.kind not in "biuf":
        return None
    finite = array[np.isfinite(array.astype(float))]
    return (float(finite.min()), float(finite.max())) if finite.size else None


def ranged(value: Any, form: Callable[[float | None], str]) -> str:
    """A value in words; a sweep as ``least – greatest``; a dash when unknown."""
    ends = span(value)
    if ends is None:
        return UNKNOWN
    low, high = form(ends[0]), form(ends[1])
    return low if low == high else f"{low} … {high}"


def worst(value: Any) -> float | None:
    """The greatest finite value: the worst point of a sweep of times or bytes."""
    ends = span(value)
    return ends[1] if ends else None


def ratio(part: Any, whole: Any) -> float | None:
    """part / whole of two scalars, or None."""
    a, b = number(part), number(whole)
    return a / b if a is not None and b else None


def whole_number(value: Any) -> str:
    """Counts with thousands separators: ``4,064``; fractions keep one or two figures."""
    found = number(value)
    if found is None:
        return UNKNOWN
    if abs(found) >= 1e15:
        return f"{found:.3g}"
    return f"{found:,.0f}" if found == round(found) or abs(found) >= 100 else f"{found:,.3g}"


def shares(values: Sequence[float | None]) -> list[float]:
    """Each value's part of the sum; all zero when the sum is. Negative and unknown values count as zero."""
    plain = [v if v is not None and v > 0 else 0.0 for v in values]
    largest = max(plain, default=0.0)
    if not largest:
        return [0.0] * len(plain)
    scaled = [v / largest for v in plain]  # so that huge values cannot overflow the sum
    total = math.fsum(scaled)
    return [v / total for v in scaled]


def percents(parts: Sequence[float], digits: int = 1) -> list[str]:
    """Shares as percentages whose printed figures sum to exactly 100 (largest remainder), if the shares sum to 1."""
    scale = 10**digits
    exact = [p * 100 * scale for p in parts]
    floors = [math.floor(x + 1e-9) for x in exact]
    missing = round(math.fsum(exact)) - sum(floors)
    order = sorted(range(len(exact)), key=lambda i: floors[i] - exact[i])
    for i in order[: max(0, missing)]:
        floors[i] += 1
    return [format_percent(f / (100 * scale), digits) for f in floors]


@dataclass(frozen=True, slots=True)
class Row:
    """One op row, or several summed, ready to print.

    Attributes:
        index: its place in the prediction; −1 for sums.
        section: the step (``prefill``) or pass (``backward``) it belongs to; empty when the call has only one.
        time, limit, flops, bytes: all instances together; None where unknown.
        share: of the call's time.
        members: how many rows it stands for.
    """

    index: int
    name: str
    path: str
    kind: str
    count: float | None
    time: float | None
    limit: float | None
    bound: str
    flops: float | None
    bytes: float | None
    share: float = 0.0
    section: str = ""
    members: int = 1

    @property
    def reached(self) -> float | None:
        """Speed of light over time, or None where either is unknown or zero."""
        return ratio(self.limit, self.time) if self.limit else None

    @property
    def intensity(self) -> float | None:
        """FLOPs per byte of main memory."""
        return ratio(self.flops, self.bytes) if self.flops and self.bytes else None

    @property
    def rate(self) -> float | None:
        """FLOP/s while it runs."""
        return ratio(self.flops, self.time) if self.flops and self.time else None


def rows_of(prediction: Prediction) -> list[Row]:
    """The prediction's rows in its own order, with shares that sum to 1."""
    found = [_row(i, op) for i, op in enumerate(prediction.ops)]
    steps, phases = {op.step for op in prediction.ops}, {op.phase for op in prediction.ops}
    several = len(steps) > 1, len(phases) > 1
    parts = shares([row.time for row in found])
    out = []
    for row, op, share in zip(found, prediction.ops, parts, strict=True):
        words = [clean(w, 24) for w, use in zip((op.step, op.phase), several, strict=True) if use and w]
        out.append(replace(row, share=share, section=" ".join(words)))
    return out


def _row(index: int, op: OpRow) -> Row:
    name = clean(op.name)
    return Row(
        index, name, clean(op.path) or name, clean(op.kind, 40), number(op.count), number(op.time), number(op.limit),
        clean(op.bound, 60), number(op.flops), number(op.bytes),
    )  # fmt: skip


def merged(rows: Sequence[Row], name: str, path: str = "", kind: str = "") -> Row:
    """Several rows as one: sums, and the bound most of their time is spent under."""

    def add(values: Iterable[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return math.fsum(known) if known else None

    counts = {row.count for row in rows}
    sections = {row.section for row in rows}
    return Row(
        -1, name, path, kind, counts.pop() if len(counts) == 1 else None, add(r.time for r in rows),
        add(r.limit for r in rows), dominant(rows), add(r.flops for r in rows), add(r.bytes for r in rows),
        math.fsum(r.share for r in rows), sections.pop() if len(sections) == 1 else "", sum(r.members for r in rows),
    )  # fmt: skip


def dominant(rows: Sequence[Row]) -> str:
    """The bound that holds most of the rows' time."""
    held = by(rows, lambda r: r.bound)
    return max(held, key=lambda k: math.fsum(r.share for r in held[k])) if held else ""


def by(rows: Sequence[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows grouped by a key, largest time first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return dict(sorted(groups.items(), key=lambda item: -math.fsum(r.share for r in item[1])))


def folded(rows: Sequence[Row], top: int) -> tuple[list[Row], Row | None]:
    """The ``top`` rows by time, and the others as one row ("… 12 more"); one row left over is shown instead."""
    ordered = sorted(rows, key=lambda r: (-r.share, r.index))
    if len(ordered) <= top + 1:
        return ordered, None
    rest = ordered[top:]
    return ordered[:top], merged(rest, f"… {len(rest)} more")
