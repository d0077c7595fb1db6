"""Markup that cannot be broken out of, and the axes that charts share.

``element`` escapes every plain string; only what is already :class:`Markup` is passed through.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SVG_NAMESPACE = "http://www.w3.org/2000/svg"


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def safe(text: Any) -> Markup:
    """Escaped for element content and for quoted attributes; pictures come as inline SVG."""
    if isinstance(text, Picture):
        return text.inline()
    return text if isinstance(text, Markup) else Markup(html.escape(str(text), quote=True))


def joined(parts: Iterable[Any]) -> Markup:
    return Markup("".join(safe(part) for part in parts))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """``<tag …>children</tag>``. ``class_`` and ``data_i`` lose and change their underscores; None leaves one out."""
    made = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        shown = "" if value is True else short(value) if isinstance(value, float) else value
        made.append(f'{name.rstrip("_").replace("_", "-")}="{safe(shown)}"')
    inner = joined(children)
    return Markup(f"<{' '.join(made)}>{inner}</{tag}>")


def short(value: float) -> str:
    """A coordinate: two decimals at most, nothing that is not a number."""
    if not math.isfinite(value):
        return "0"
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def text(x: float, y: float, words: Any, anchor: str = "start", class_: str = "") -> Markup:
    return element("text", words, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_ or None)


def rect(x: float, y: float, width: float, height: float, class_: str = "", **more: Any) -> Markup:
    return element("rect", x=x, y=y, width=max(width, 0.0), height=height, class_=class_ or None, **more)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart of its own size, for a page or as a part of a larger picture; false when there is nothing to show.

    Attributes:
        label: what it shows, for those who do not see it.
        body: SVG content.
    """

    width: float = 0.0
    height: float = 0.0
    label: str = ""
    body: Markup = Markup("")
    class_: str = ""

    def __bool__(self) -> bool:
        return bool(self.body)

    def inline(self) -> Markup:
        """An ``<svg>`` that scales to its place, for HTML."""
        if not self:
            return Markup("")
        return element(
            "svg", self.body, viewBox=f"0 0 {short(self.width)} {short(self.height)}", role="img",
            aria_label=self.label, class_=self.class_ or None, style=f"max-width:{short(self.width * 1.25)}px",
        )  # fmt: skip

    def placed(self, x: float, y: float) -> Markup:
        """A group for a larger picture."""
        return element("g", self.body, transform=f"translate({short(x)} {short(y)})")


def picture(width: float, height: float, label: str, *parts: Any, class_: str = "") -> Picture:
    return Picture(width, height, label, joined(parts), class_)


def text_width(words: str, size: float = 12.0) -> float:
    """About how wide text runs: wide glyphs (CJK, emoji) count double."""
    return sum(1.7 if ord(c) > 0x2E7F else 1.0 for c in words) * size * 0.58


def shortened(words: str, width: float, size: float = 12.0) -> str:
    """Text cut to a width with an ellipsis; empty when not even three letters fit."""
    if text_width(words, size) <= width:
        return words
    kept = words
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip("._+ ") + "…" if len(kept) >= 3 else ""


@dataclass(frozen=True, slots=True)
class LogAxis:
    """Positive values to pixels on a log scale; values beyond the ends stay at the ends.

    Attributes:
        low, high: log10 of the ends.
        start, end: pixels (an end above its start in value may lie to the left or further up).
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        where = math.log10(value) if value > 0 else self.low
        part = (min(max(where, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, most: int = 9) -> list[float]:
        """Powers of ten, thinned to at most ``most``."""
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        step = max(1, math.ceil((last - first + 1) / most))
        return [10.0**n for n in range(first, last + 1, step)]


def log_axis(values: Sequence[float], start: float, end: float, pad: float = 0.25, decades: float = 8.0) -> LogAxis:
    """An axis that holds the values, at least 1.5 decades and at most ``decades`` (the lower ones give way)."""
    logs = [math.log10(v) for v in values if v > 0 and math.isfinite(v)] or [0.0]
    high = max(logs) + pad
    low = max(min(logs) - pad, high - decades)
    if high - low < 1.5:
        low = high - 1.5
    return LogAxis(low, high, start, end)
