"""A validation result as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._foundation.quantity import format_percent


def render_validation(result: Mapping[str, Any]) -> Any:
    """Overall metrics, then by slice; rows below the limit are counted in red."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = Text()
    head.append(f"{result['suite']}", style="bold")
    head.append(
        f"  {result['rows']:,} rows, {result['predicted']:,} predicted in {result['seconds']:.1f} s; nothing fitted\n"
    )
    for status, count in result["status"].items():
        if status != "ok":
            head.append(f"  {status}: {count:,}\n", style="yellow")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("column", "slice", "rows", "median", "mean", "p90", "bias", "in 80 %", "below limit"):
        table.add_column(name, justify="left" if name in ("column", "slice") else "right")
    for column, m in result["metrics"].items():
        table.add_row(column, "all", *_cells(m), _below(m, column))
        for key, values in result["groups"].items():
            for value, by_column in values.items():
                if by_column[column]["n"]:
                    table.add_row("", f"{key} = {value}", *_cells(by_column[column]), "")
    bars = Text()
    for bar in result["bars"]:
        bars.append(
            f"{'held' if bar['held'] else 'MISSED'}: {bar['column']} {bar['metric']} {bar['bar']:g}\n",
            style="green" if bar["held"] else "bold red",
        )
    return Group(head, table, bars)


def _cells(m: Mapping[str, Any]) -> list[str]:
    shares = [format_percent(m[k]) for k in ("median_ape", "mape", "p90_ape", "bias", "coverage_80")]
    return [f"{m['n']:,}", *shares]


def _below(m: Mapping[str, Any], column: str) -> str:
    count = m.get("below_limit", 0)
    return f"{count:,} ({100 * count / m['n']:.3f} %)" if m["n"] else "–"
