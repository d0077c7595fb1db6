"""A local calibration as a table: errors before and after, and what each factor means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._foundation.quantity import format_percent, format_time

# What single operators tell beside kernels (costs/families/module_here.py).
FIGURES = {
    "dispatch": "an operator's dispatch, inside a model", "recorded": "the same in a training step, forward or backward",
    "page": "a byte of memory that is new from the system",
}  # fmt: skip


def render_calibration(result: Mapping[str, Any]) -> Any:
    """Every family and framework of the table, then what was written."""
    from rich.console import Group
    from rich.text import Text

    head = Text()
    head.append(f"{result['suite']}", style="bold")
    head.append(f"  {result['points']:,} points of {result['rows']:,} rows on {result['machine']}")
    head.append(f", {result['seconds']:.1f} s\n")
    for status, count in result["status"].items():
        if status != "ok":
            head.append(f"  {status}: {count:,}\n", style="yellow")
    tail = Text()
    if result["written"]:
        tail.append(f"wrote {result['written']}: use it as --on {result['written']}\n")
    elif result["gained"]:
        tail.append("nothing is written without --out FILE.yaml\n", style="dim")
    else:
        tail.append(
            "nothing is gained: these points are predicted as well without factors of their own\n", style="yellow"
        )
    return Group(head, *(part for own in result["calibrations"] for part in _one(own)), tail)


def _one(own: Mapping[str, Any]) -> list[Any]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    title = Text()
    title.append(f"{own['family']} of {own['framework'] or 'no named framework'}", style="bold")
    title.append(f"  errors before and after; after: leaving out {own['left_out']}", style="dim")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("class", "points", "median", "→", "mean", "→"):
        table.add_column(name, justify="left" if name == "class" else "right")
    rows = [("all", own), *own["classes"].items()]
    for name, m in rows if len(rows) > 2 else rows[:1]:
        shares = [format_percent(m[when][k]) for k in ("median_ape", "mape") for when in ("before", "after")]
        table.add_row(name.replace("|", " "), f"{m['points']:,}", *shares)
    return [title, table, _factors(own)]


def _factors(own: Mapping[str, Any]) -> Any:
    from rich.text import Text

    text = Text()
    if not own["gained"]:
        text.append("  no factor beats none by more than chance\n", style="yellow")
        return text
    if own.get("curves"):
        text.append(f"  {own['curves']} curves of sizes, by sort and function\n")
    for name, seconds in own.get("figures", {}).items():
        text.append(f"  {FIGURES.get(name, name)}: {format_time(seconds)}\n")
    for term, factor in own["factors"].items():
        text.append(f"  {term}: {meaning(factor, own['layered_on'])}\n")
    low, high = own["interval"]
    text.append(f"  80 % of points lie between {low:.3g} and {high:.3g} times their prediction\n", style="dim")
    return text


def meaning(factor: float, layered_on: str) -> str:
    """A factor in words."""
    expects = "the analytic model expects" if layered_on == "analytic" else "the shipped fit expects"
    change = abs(factor - 1)
    if change < 5e-3:
        return f"as {expects} (× {factor:.3f})"
    if factor >= 2:
        return f"{factor:.2g} times as long as {expects}"
    return f"{format_percent(change, 0)} {'slower' if factor > 1 else 'faster'} than {expects} (× {factor:.3f})"
