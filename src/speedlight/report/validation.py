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
    head.append(f"  {result['rows']:,} rows, {result['predicted']:,} predicted in {result['seconds']:.1f} s\n")
    head.append(f"  {rests_on(result)}\n", style="dim")
    if result.get("on"):
        head.append(f"  {on_which(result['on'])}\n", style="dim")
    for status, count in result["status"].items():
        if status != "ok":
            head.append(f"  {status}: {count:,}\n", style="yellow")
    for name, held in result.get("columns", {}).get("mistyped", {}).items():
        head.append(f"  column {name} holds {held}\n", style="yellow")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("column", "slice", "rows", "median", "mean", "p90", "bias", "in 80 %", "below limit"):
        table.add_column(name, justify="left" if name in ("column", "slice") else "right")
    for column, m in result["metrics"].items():
        table.add_row(column, "all", *_cells(m), below(m))
        average = result.get("averages", {}).get(column)
        if average and average["classes"]:
            shares = [format_percent(average[k]) for k in ("median_ape", "mape")]
            what = f"average of {average['classes']} classes"
            table.add_row("", what, "", *shares, "", "", format_percent(average["coverage_80"]), "")
        for key, values in result["groups"].items():
            for value, by_column in values.items():
                if key != "class" and column in by_column:
                    table.add_row("", f"{key} = {value}", *_cells(by_column[column]), "")
    return Group(head, table, _bars(result))


def rests_on(result: Mapping[str, Any]) -> str:
    """What the predictions rest on, in a phrase."""
    if result["fit"] is None:
        return "nothing fitted: analytic times from spec sheets"
    if result["cv"]:
        return f"out of fold: {result['fit']['id']}"
    seen = "; fitted on this very file" if result["in_sample"] else ""
    return f"fit {result['fit']['id']}{seen}"


def on_which(on: Mapping[str, Any]) -> str:
    """The machine stated, and what its owner measured, in a phrase."""
    layered = ", ".join(f"{c['family']} of {c['framework'] or 'no library'}" for c in on["calibrations"])
    return f"rows that name no other device: {on['id']}" + (
        f" with its own calibration of {layered}" if layered else ""
    )


def _bars(result: Mapping[str, Any]) -> Any:
    from rich.text import Text

    text = Text()
    kernel = result.get("kernel")
    if kernel and kernel["n"]:
        text.append(f"kernel named right in {format_percent(kernel['named_right'])} of {kernel['n']:,} rows\n")
    for bar in result["bars"]:
        text.append(
            f"{'held' if bar['held'] else 'MISSED'}: {bar['column']} {bar['metric']} {bar['bar']:g}\n",
            style="green" if bar["held"] else "bold red",
        )
    return text


def _cells(m: Mapping[str, Any]) -> list[str]:
    shares = [format_percent(m[k]) for k in ("median_ape", "mape", "p90_ape", "bias", "coverage_80")]
    return [f"{m['n']:,}", *shares]


def below(m: Mapping[str, Any]) -> str:
    """Measurements better than their limit: how many, and which share."""
    count = m.get("below_limit", 0)
    if not m["n"]:
        return "–"
    return f"{count:,} ({100 * count / m['n']:.3f} %)" if count else "0"
