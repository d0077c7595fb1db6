"""Techniques applied for real beside their predictions, in the terminal and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._foundation.quantity import format_time
from .console import Fitted, bullets, heading, listing
from .page import card, page
from .svg import element, joined
from .view import clean

HEADS = (
    ("technique", "left"), ("without", "right"), ("with", "right"), ("gain", "right"), ("predicted", "right"), ("80 %", "right"),
    ("memory", "right"), ("predicted", "right"), ("results", "left"),
)  # fmt: skip


def render_verified(data: Mapping[str, Any], named: bool, width: int | None = None) -> Any:
    """A rich renderable of the object of ``verify``.

    Args:
        named: techniques were named, so refusals are told in full.
    """

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        from rich.text import Text

        for result in data["results"][:1]:
            yield heading(
                f"{clean(result['model'], 60)} · {result['phase']}", f"run here, predicted for {result['machine']}"
            )
        if data["results"]:
            table = listing(list(HEADS), ("technique", "results"), columns)
            for row in data["results"]:
                measured, predicted, right = row["measured"], row["predicted"], row["direction"]["right"]
                table.add_row(
                    Text(row["technique"]), Text(format_time(measured["before"])), Text(format_time(measured["after"])),
                    Text(_gain(measured["speedup"]), style="bold"), Text(_gain(predicted["speedup"]), style="" if right else "yellow"),
                    Text(f"{_gain(predicted['low'])} … {_gain(predicted['high'])}", style="dim"), Text(_gain(measured["memory"])),
                    Text(_gain(predicted["memory"])), Text(results_of(row), style="" if _fine(row) else "yellow"),
                )  # fmt: skip
            yield table
            yield Text("gain: work per second over that without; memory: peak without over peak with", style="dim")
        if data["refused"]:
            yield heading("Not applied", f"{len(data['refused'])} techniques")
            yield bullets([Text(clean(r["reason"], 160), style="" if named else "dim") for r in data["refused"]])
        warnings = sorted({w for r in data["results"] for w in r["warnings"]})
        if warnings:
            yield bullets([Text(clean(w, 100), style="yellow") for w in warnings[-2:]])

    return Fitted(build, width)


def _gain(ratio: float | None) -> str:
    return "–" if ratio is None else f"× {ratio:.2f}"


def _fine(row: Mapping[str, Any]) -> bool:
    return not row["exact"] or row["difference"] is None or bool(row["difference"]["close"])


def results_of(row: Mapping[str, Any]) -> str:
    """What a technique does to the results, in words."""
    found = row["difference"]
    if found is None:
        return "not compared: other work"
    if found["largest"] is None:
        return f"{found['of']} of other sizes"
    if row["exact"]:
        return (
            f"{found['of']} equal to {found['largest']:.0e}"
            if found["close"]
            else f"{found['of']} differ by {found['largest']:.0e}: not exact here"
        )
    error = f"approximate: {found['of']} off by {found['rms']:.1%}"
    return error + ("" if found["same"] is None else f", {found['same']:.0%} same answer")


def verified_html(data: Mapping[str, Any]) -> str:
    """A page that needs nothing else: every technique, how it was applied, what was refused."""
    rows = []
    for row in data["results"]:
        m, p = row["measured"], row["predicted"]
        cells = [
            row["technique"], row["how"], format_time(m["before"]), format_time(m["after"]),
            f"{_gain(m['speedup'])} ({_gain(m['low'])} … {_gain(m['high'])})", f"{_gain(p['speedup'])} ({_gain(p['low'])} … {_gain(p['high'])})",
            _gain(m["memory"]), _gain(p["memory"]), results_of(row),
        ]  # fmt: skip
        rows.append(element("tr", joined(element("td", clean(c, 200)) for c in cells)))
    names = (
        "technique",
        "applied by",
        "without",
        "with",
        "gain (95 %)",
        "predicted (80 %)",
        "memory",
        "predicted",
        "results",
    )
    head = element("tr", joined(element("th", name) for name in names))
    title = clean(data["results"][0]["model"], 60) if data["results"] else "verify"
    header = element("header", element("h1", f"Techniques applied to {title}"))
    table = element("table", element("thead", head), element("tbody", joined(rows)))
    words = "Gain: work per second over that without. Memory: peak without over peak with."
    sections = [header, card("With and without", words, table)]
    if data["refused"]:
        listed = element("ul", joined(element("li", clean(r["reason"], 200)) for r in data["refused"]))
        sections.append(card("Not applied", "", listed))
    return page(f"Techniques applied to {title}", sections)
