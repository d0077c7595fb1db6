"""A measured module beside its prediction, in the terminal and as a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._foundation.quantity import format_bytes, format_percent, format_time
from .console import Fitted, bullets, grid, heading, listing
from .page import card, page
from .svg import Markup, element, joined
from .theme import bound_label, family
from .view import clean

SHOWN = 24
WORTH = 0.05  # of a step in the system from which it is told


def render_beside(result: Mapping[str, Any], width: int | None = None) -> Any:
    """A rich renderable of the object of ``measure MODEL``."""

    def build(columns: int, ascii_only: bool) -> Iterable[Any]:
        from rich.text import Text

        measured, predicted, memory = result["measured"], result["predicted"], result["memory"]
        yield heading(f"{clean(result['model'], 60)} · {result['phase']}", f"{result['stack']} on {result['machine']}")
        table = grid(None, None, 1)
        span = f"95 % interval of the median {format_time(measured['low'])} – {format_time(measured['high'])}, {measured['runs']} runs"
        table.add_row("measured", Text(format_time(measured["time"]), style="bold"), Text(span, style="dim"))
        span = f"80 % interval {format_time(predicted['low'])} – {format_time(predicted['high'])}"
        far = f"{result['ratio'] - 1:+.0%}"
        table.add_row(
            "predicted", Text(format_time(predicted["time"]), style="bold"), Text(f"{far}; {span}", style="dim")
        )
        light = f"{format_percent(predicted['limit'] / measured['time'])} reached; bound by {bound_label(predicted['bound'])}"
        table.add_row("speed of light", Text(format_time(predicted["limit"]), style="bold"), Text(light, style="dim"))
        host = result["host"]
        table.add_row(
            "host",
            Text(format_time(host["measured"]), style="bold"),
            Text(f"traced, no operator computes; predicted {format_time(host['predicted'])}", style="dim"),
        )
        pages = result["pages"]
        if pages["system"] > WORTH * measured["time"]:
            words = (
                f"{pages['count']} pages mapped anew in a step, not predicted: an allocator that keeps memory saves it"
            )
            table.add_row(
                "in the system", Text(format_time(pages["system"]), style="bold"), Text(words, style="yellow")
            )
        words = f"predicted {format_bytes(memory['predicted'])}; {format_bytes(memory['kept'])} of it outlive the step"
        table.add_row(
            "memory at its peak", Text(format_bytes(memory["measured"]), style="bold"), Text(words, style="dim")
        )
        yield table
        yield heading("Modules", "seconds of their operators")
        heads = [
            ("", "left"),
            ("measured", "right"),
            ("predicted", "right"),
            ("ratio", "right"),
            ("limit", "right"),
            ("bound", "left"),
            ("operators", "left"),
        ]
        listed = listing(heads, ("", "operators"), columns)
        for row in result["layers"][:SHOWN]:
            ratio = row["predicted"] / row["measured"] if row["measured"] else None
            style = "" if ratio is None or 0.67 < ratio < 1.5 else "yellow"
            name = (row["path"] or "(model)") + ("" if row["phase"] == "forward" else f" · {row['phase']}")
            listed.add_row(
                Text(clean(name, 60)), Text(format_time(row["measured"]), style="bold"), Text(format_time(row["predicted"])),
                Text("–" if ratio is None else f"{ratio:.2f}", style=style), Text(format_time(row["limit"])),
                Text(bound_label(row["bound"]) if row["bound"] else "", style=family(row["bound"]).term), Text(", ".join(row["ops"]), style="dim"),
            )  # fmt: skip
        yield listed
        if len(result["layers"]) > SHOWN:
            yield Text(f"… {len(result['layers']) - SHOWN} more (--json lists them)", style="dim")
        if result["warnings"]:
            yield bullets([Text(clean(w, 100), style="yellow") for w in result["warnings"]])

    return Fitted(build, width)


def beside_html(result: Mapping[str, Any]) -> str:
    """A page that needs nothing else: the same figures, every module."""
    measured, predicted, memory = result["measured"], result["predicted"], result["memory"]
    facts = [
        ("measured", format_time(measured["time"])), ("predicted", f"{format_time(predicted['time'])} ({result['ratio'] - 1:+.0%})"),
        ("speed of light", format_time(predicted["limit"])), ("memory at its peak", format_bytes(memory["measured"])),
        ("memory predicted", format_bytes(memory["predicted"])),
    ]  # fmt: skip
    most = max((max(r["measured"], r["predicted"]) for r in result["layers"]), default=1.0) or 1.0
    rows = joined(_row(row, most) for row in result["layers"])
    heads = joined(element("th", name) for name in ("module", "pass", "measured", "predicted", "limit", "bound", ""))
    header = element(
        "header", element("h1", f"{result['model']} measured on {result['machine']}"),
        element("dl", joined(joined((element("dt", k), element("dd", v))) for k, v in facts), class_="echo"),
    )  # fmt: skip
    table = element("table", element("thead", element("tr", heads)), element("tbody", rows))
    return page(str(result["model"]), [header, card("Modules", "Upper bar measured, lower bar predicted.", table)])


def _row(row: Mapping[str, Any], most: float) -> Markup:
    bars = joined(
        element("div", class_=f"b-{family(row['bound']).key}" if name == "predicted" else "b-other", style=f"height:6px;width:{100 * row[name] / most:.2f}%")
        for name in ("measured", "predicted")
    )  # fmt: skip
    cells = [
        row["path"] or "(model)",
        row["phase"],
        format_time(row["measured"]),
        format_time(row["predicted"]),
        format_time(row["limit"]),
        bound_label(row["bound"]) if row["bound"] else "",
    ]
    return element("tr", joined(element("td", c) for c in cells), element("td", bars, style="min-width:12em"))
