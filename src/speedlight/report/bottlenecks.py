"""The layers that take most of the time: why, and what each would take if what binds it did not; in terminals and pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._foundation.quantity import format_percent, format_time
from ..engine.answers.prediction import Layer, Prediction
from .console import bar
from .svg import Markup, Picture, element, picture, rect
from .theme import bound_label, family
from .tree import bottlenecks
from .view import UNKNOWN, Row, clean, number, ratio

if TYPE_CHECKING:
    from rich.table import Table

MOST = 8
BAR = 180.0


def place(layer: Layer) -> str:
    """The layer's module path, and the step or pass where there are several."""
    return " · ".join(w for w in (clean(layer.section, 40), clean(layer.path or layer.name, 120)) if w)


def relief(layer: Layer) -> str:
    """``3.1 ms, then memory bandwidth``: what it would take without what binds it."""
    left = number(layer.if_unbound)
    if left is None:
        return UNKNOWN
    words = format_time(left)
    return f"{words}, then {bound_label(clean(layer.then, 60))}" if layer.then and left else words


def bottleneck_table(prediction: Prediction, rows: Sequence[Row], columns: int, ascii_only: bool) -> Table | None:
    """Two lines a layer for terminals: its figures, and why."""
    from rich.table import Table
    from rich.text import Text

    found = bottlenecks(prediction, rows, MOST)
    if not found:
        return None
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    table.width = columns
    cells = 12 if columns >= 100 else 6
    for layer, row in found:
        colour = family(row.bound).term
        head = Text(place(layer), style="bold").append(f"  {format_time(row.time)}  ", style="default")
        head.append(bar(row.share, cells, ascii_only).rstrip(), style=colour)
        head.append(f" {format_percent(row.share)}", style="default")
        table.add_row(Text(str(layer.rank), style="dim"), head)
        why = Text(clean(layer.why, 300) or bound_label(row.bound), style=colour)
        why.append(f" · without {_what(row.bound)} {relief(layer)}", style="dim")
        table.add_row("", why)
    return table


def _what(bound: str) -> str:
    """``this bound``'s name, short."""
    return {"launch": "that wait"}.get(bound, bound_label(bound))


def bottleneck_card(prediction: Prediction, rows: Sequence[Row]) -> Markup:
    """The same as a card of a page."""
    found = bottlenecks(prediction, rows, MOST)
    if not found:
        return Markup("")
    longest = max(row.share for _, row in found)
    lines = []
    for layer, row in found:
        swatch = element("span", class_=f"swatch b-{family(row.bound).key}")
        why = element("small", clean(layer.why, 300) or bound_label(row.bound))
        cells = [
            element("td", element("b", place(layer)), why),
            element("td", _bar(layer, row, row.share / longest if longest else 0.0)),
            element("td", format_time(row.time)),
            element("td", format_percent(row.share)),
            element("td", swatch, bound_label(row.bound)),
            element("td", relief(layer)),
        ]
        lines.append(element("tr", *cells))
    heads = ("layer", "", "time", "share", "bound by", "without that bound")
    table = element(
        "table", element("thead", element("tr", *(element("th", name) for name in heads))),
        element("tbody", *lines), class_="neck",
    )  # fmt: skip
    note = "By time. The full part of a bar is what the layer's bound alone costs; the faint part stays without it."
    return element(
        "section", element("h2", "Bottleneck layers"), element("p", note, class_="why"),
        element("div", table, class_="scroll"), class_="card",
    )  # fmt: skip


def _bar(layer: Layer, row: Row, part: float) -> Picture:
    """What its bound costs, and what stays without it."""
    stays = min(max(ratio(layer.if_unbound, row.time) or 0.0, 0.0), 1.0)
    width = max(part * BAR, 1.0)
    look = family(row.bound).key
    parts = [
        rect(0, 3, BAR, 12, "track", rx=4.0), rect(0, 3, width, 12, f"faint b-{look}", rx=4.0),
        rect(width * stays, 3, width * (1 - stays), 12, f"b-{look}", rx=4.0),
    ]  # fmt: skip
    words = f"{format_time(row.time)}, {relief(layer)} without {bound_label(row.bound)}"
    return picture(BAR, 18, words, Markup("".join(parts)))
