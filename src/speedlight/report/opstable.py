"""Every op as a row of a table that sorts and filters."""

from __future__ import annotations

from collections.abc import Sequence

from .._foundation.quantity import format_bytes, format_percent, format_si, format_time
from .svg import Markup, element
from .theme import bound_label, family
from .view import UNKNOWN, Row, by, merged, percents, whole_number

BUDGET = 180_000  # characters of rows a page may hold; smaller ops are summed up beyond it


def ops_section(rows: Sequence[Row]) -> Markup:
    """The card with filter, chips for bounds and the table; empty without rows."""
    if not rows:
        return Markup("")
    several = len({row.section for row in rows}) > 1
    heads = [
        "Op", "Kind", *(["Step"] if several else []), "Count", "Time", "Share", "Speed of light", "SOL %", "Bound",
        "FLOPs", "Bytes", "FLOP/B",
    ]  # fmt: skip
    head = [
        element(
            "th",
            element("button", name, type="button"),
            scope="col",
            aria_sort="descending" if name == "Time" else None,
        )
        for name in heads
    ]
    total = merged(rows, "all ops")
    sums = {
        "Op": total.name,
        "Time": format_time(total.time),
        "Share": "100 %",
        "FLOPs": _flops(total),
        "Bytes": _bytes(total),
    }
    foot = [element("td", sums.get(name, "")) for name in heads]
    table = element(
        "table", element("thead", element("tr", *head)), element("tbody", *_body(rows, several)),
        element("tfoot", element("tr", *foot)), id="ops", class_="steps" if several else None,
    )  # fmt: skip
    chips = [
        element(
            "button", element("span", class_=f"swatch b-{family(bound).key}"), bound_label(bound), class_="chip",
            type="button", data_bound=bound, aria_pressed="false",
        )
        for bound in by(rows, lambda r: r.bound)
    ]  # fmt: skip
    find = Markup('<input id="filter" type="search" placeholder="filter ops" aria-label="filter ops">')
    tools = element("div", find, *chips, element("span", id="count", role="status"), class_="tools")
    why = "All instances together, on the critical rank. Click a heading to sort."
    return element(
        "section", element("h2", "Ops"), element("p", why, class_="why"), tools,
        element("div", table, class_="tablebox", tabindex="0", role="region", aria_label="table of ops"), class_="card",
    )  # fmt: skip


def _body(rows: Sequence[Row], several: bool) -> list[Markup]:
    """Rows by time, as many as the budget holds, the others as one."""
    ordered = sorted(rows, key=lambda r: (-r.share, r.index))
    shown = percents([r.share for r in ordered])
    made: list[Markup] = []
    size = 0
    for i, (row, percent) in enumerate(zip(ordered, shown, strict=True)):
        line = _row(row, percent, several)
        size += len(line)
        if size > BUDGET and i < len(ordered) - 1:
            rest = merged(ordered[i:], f"… {len(ordered) - i} more", kind="other")
            return [*made, _row(rest, format_percent(rest.share), several)]
        made.append(line)
    return made


def _row(row: Row, percent: str, several: bool) -> Markup:
    """One line; alignment and colours come from the style sheet, sorting from the text: pages of 600 ops stay small."""
    path = element("small", row.path) if row.path not in ("", row.name) else ""
    cells = [
        row.kind, *([row.section] if several else []), whole_number(row.count) if row.count is not None else "",
        format_time(row.time), Markup(percent), format_time(row.limit) if row.limit else UNKNOWN,
        format_percent(row.reached, 0), row.bound, _flops(row), _bytes(row),
        whole_number(row.intensity),
    ]  # fmt: skip
    made = [
        element("td", cell, style=f"--p:{60 * row.share:.1f}px" if isinstance(cell, Markup) else None) for cell in cells
    ]
    return element("tr", element("td", row.name, path), *made, data_i=row.index, class_=f"c-{family(row.bound).key}")


def _flops(row: Row) -> str:
    return format_si(row.flops, "FLOP") if row.flops else UNKNOWN


def _bytes(row: Row) -> str:
    return format_bytes(row.bytes) if row.bytes else UNKNOWN
